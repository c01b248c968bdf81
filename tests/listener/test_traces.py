"""Traces of the requests to Pusher, as a collector receives them."""

from tests.database import call
from tests.listener.chats import INSERT_MESSAGES, chat_channel, new_large_chat
from tests.listener.conftest import Harness
from tests.listener.process import running_listener
from tests.listener.pusher_proxy import PusherProxy
from tests.otlp import running_collector
from tests.waiting import wait_until


def test_each_request_to_pusher_is_a_span(harness: Harness) -> None:
    chat = new_large_chat(harness.dba, "owner", "hidden-word")
    call(harness.dba, "hidden-word", "authorize_channel", "1.2", chat_channel(chat))
    name = "POST batch_events"
    with (
        running_collector() as collector,
        PusherProxy(harness.pusher).open() as proxy,
        running_listener(harness.new_listener(proxy, **collector.environment)),
    ):
        harness.dba.execute(INSERT_MESSAGES, [chat, 25])
        wait_until(lambda: sum(span["messaging.batch.message_count"] for span in collector.find_spans(name)) == 25)
        for span in collector.find_spans(name):
            assert (span["service"], span["kind"], span["failed"]) == ("parley-listener", "CLIENT", False)
            assert (span["http.request.method"], span["url.template"]) == ("POST", "batch_events")
            assert span["http.response.status_code"] == 200
            assert span["start"] < span["end"]
        proxy.reject = {"": 503}
        harness.dba.execute(INSERT_MESSAGES, [chat, 1])
        wait_until(lambda: any(span["failed"] for span in collector.spans))
        failed = next(span for span in collector.spans if span["failed"])
        assert failed["http.response.status_code"] == 503
        proxy.reject = {}
        call(harness.dba, "owner", "remove_member", chat, "hidden-word")
        wait_until(lambda: collector.find_spans("POST users/{id}/terminate_connections"))
        assert b"hidden-word" not in collector.received


def test_unsupported_protocol_is_reported_in_one_line(harness: Harness) -> None:
    endpoint = "http://127.0.0.1:1"
    listener = harness.new_listener(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc").spawn()
    child = listener.child
    assert child is not None
    wait_until(lambda: child.exit_code is not None)
    assert child.exit_code == 1
    assert listener.log.read_text() == "parley-listener: OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf\n"
    listener.stop()
