"""Traces of the requests to Pusher, as a collector gets them."""

from tests.database import add_member, call, new_chat
from tests.listener.chats import RECORD
from tests.listener.conftest import Stage
from tests.listener.rejecting_proxy import RejectingProxy
from tests.listener.support import listening
from tests.otlp import running_collector
from tests.waiting import wait_until


def test_each_request_to_pusher_is_a_span(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    add_member(stage.dba, "owner", chat, "hidden-word")
    wait_for = "POST batch_events"
    with (
        running_collector() as collector,
        RejectingProxy(stage.pusher).open() as proxy,
        listening(stage.listener(proxy, **collector.environment)),
    ):
        stage.dba.execute(RECORD, [chat, 25])
        wait_until(lambda: sum(span["messaging.batch.message_count"] for span in collector.find_spans(wait_for)) == 25)
        for span in collector.find_spans(wait_for):
            assert (span["service"], span["kind"], span["failed"]) == ("parley-listener", "CLIENT", False)
            assert (span["http.request.method"], span["url.template"]) == ("POST", "batch_events")
            assert span["http.response.status_code"] == 200
            assert span["start"] < span["end"]
        proxy.reject = {"": 503}
        stage.dba.execute(RECORD, [chat, 1])
        wait_until(lambda: any(span["failed"] for span in collector.spans))
        failed = next(span for span in collector.spans if span["failed"])
        assert failed["http.response.status_code"] == 503
        proxy.reject = {}
        call(stage.dba, "owner", "remove_member", chat, "hidden-word")
        wait_until(lambda: collector.find_spans("POST users/{id}/terminate_connections"))
        assert b"hidden-word" not in collector.received


def test_what_can_not_be_sent_ends_the_start_with_one_line(stage: Stage) -> None:
    endpoint = "http://127.0.0.1:1"
    listener = stage.listener(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc").spawn()
    child = listener.child
    assert child is not None
    wait_until(lambda: child.exit_code is not None)
    assert child.exit_code == 1
    assert listener.log.read_text() == "parley-listener: OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf\n"
    listener.stop()
