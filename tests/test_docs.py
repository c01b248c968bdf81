"""The READMEs, compared with the code and the database."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import psycopg
from pydantic import BaseModel, RootModel

from api.admission.controller import (
    BYTES_PER_SECOND_OF_COST,
    COST_THRESHOLD_SECONDS,
    EXPENSIVE_BODY_BYTES,
    LARGE_PAGE_BYTES,
    LARGE_PAGE_SECONDS,
    MAX_CHAT_QUEUE_SHARE,
    MAX_EXPENSIVE_PER_USER,
    MAX_PAUSE_SECONDS,
    MAX_USER_QUEUE_SHARE,
    MAX_WRITES_PER_CHAT,
    PAUSE_FACTOR,
)
from api.app import TIMEOUTS
from api.auth.tokens import LEEWAY_SECONDS
from api.db.pool import ACQUIRE_TIMEOUT_SECONDS, MAX_WAITING_PER_CONNECTION
from api.db.sqlstates import OUTAGES, OVERRIDES
from api.dev.postgres import Postgres
from api.handlers import MAX_BODY
from api.http.errors import CODES
from api.http.protocol import MAX_WRITE_BUFFER
from api.images import storage, upload_slots
from api.images.image_store import SLOT_TIMEOUT_SECONDS
from api.images.reencode.limits import (
    MAX_FRAMES,
    MAX_JPEG_PIXELS,
    MAX_PIXELS,
    MAX_SCANNED_PIXELS,
    MAX_SCANS,
    MAX_SIDE,
    MAX_SOURCE_SIDE,
)
from api.images.reencode_slots import MAX_WAITING
from api.images.upload import MAX_IMAGE_BYTES, TIMEOUT_SECONDS
from api.observability.health import PROBE_MAX_AGE_SECONDS, PROBE_TIMEOUT_SECONDS
from api.observability.metrics import Metrics as ApiMetrics
from api.openapi.models.events import (
    CHANNELS,
    CHAT_EVENT_ONLY,
    EVENTS,
    MAX_CHANNEL_USER_ID_BYTES,
    MAX_EVENT_BYTES,
)
from api.routes import ROUTES
from api.settings import Settings as ApiSettings
from listener.metrics import REGISTRY as LISTENER_REGISTRY
from listener.settings import Settings as ListenerSettings
from tests import ROOT
from tests.database import Connection, call, new_chat, roll_up_to_now

README = (ROOT / "README.md").read_text()
SQL_README = (ROOT / "sql" / "README.md").read_text()
FILES = {"README.md": README, "sql/README.md": SQL_README}


def parse_table(text: str, heading: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this heading."""
    table = re.search(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    assert table, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def format_default(value: object) -> str:
    """Format a default as in the table."""
    if value == frozenset():
        return "none"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def test_every_setting_is_in_the_table_with_its_default() -> None:
    documented = {}
    for names, default, _ in parse_table(README, "Variable"):
        for name, value in zip(re.findall(r"`(\w+)`", names), default.split(", ") * 2, strict=False):
            documented[name] = value.strip("`")
    fields = ApiSettings.model_fields | ListenerSettings.model_fields
    expected = {
        name.upper(): "required" if field.is_required() else format_default(field.default)
        for name, field in fields.items()
        if name != "secret"
    }
    assert documented == expected | {"NEXTAUTH_SECRET": "required", "AUTH_SECRET": "required"}


def test_every_metric_is_in_the_table_with_its_help() -> None:
    context = SimpleNamespace(
        database=None,
        replica=None,
        limiter=SimpleNamespace(is_redis_unavailable=False),
        admission=SimpleNamespace(waiting=0),
    )
    registries = {"API": ApiMetrics(cast("Any", SimpleNamespace(ctx=context))).registry, "listener": LISTENER_REGISTRY}
    expected = {
        (f"{family.name}_total" if family.type == "counter" else family.name, process): family.documentation
        for process, registry in registries.items()
        for family in registry.collect()
        if family.name.startswith("parley_")
    }
    documented = {(name.strip("`"), process): text for name, process, text in parse_table(README, "Metric")}
    assert documented == expected


def test_every_route_is_in_the_table_with_its_query_and_status() -> None:
    documented = {
        request.strip("`"): (parameters, status) for request, parameters, status in parse_table(README, "Request")
    }
    path_parameter, in_braces = re.compile(r"<(\w+)_id>"), r"{\1Id}"
    expected = {f"{route.method} {path_parameter.sub(in_braces, route.path)}": route for route in ROUTES}
    assert documented.keys() == expected.keys()
    for request, route in expected.items():
        parameters, status = documented[request]
        assert tuple(re.findall(r"`([\w\[\]]+)`", parameters)) == route.query + route.pusher_fields + ("image",) * bool(
            route.image_kind
        ), request
        assert status.startswith(str(route.status)), request
        assert bool(re.search(r"`\{", parameters)) == bool(route.body), request


def documented_limits() -> dict[str, list[str]]:
    """Return the numbers in each row of the README's table of limits."""
    return {limit: re.findall(r"[\d,]+", bound.replace(",", "")) for limit, bound in parse_table(README, "What")}


def test_limits_of_uploads_and_images_are_in_the_table() -> None:
    documented = documented_limits()
    assert documented["uploads of a user in progress"] == [str(upload_slots.MAX_UPLOADS_PER_USER)]
    received = [upload_slots.MAX_UPLOADS, TIMEOUT_SECONDS, upload_slots.MIN_BYTES_PER_SECOND // 1024]
    assert documented["uploads that a worker receives at once"] == [str(bound) for bound in received]
    assert documented["uploads that wait to be decoded"] == [str(MAX_WAITING), str(SLOT_TIMEOUT_SECONDS)]
    assert documented["an image"][1:] == [str(MAX_IMAGE_BYTES), str(MAX_SIDE), str(MAX_SIDE)]
    assert documented["an animation"] == [str(MAX_FRAMES), str(MAX_PIXELS // MAX_SIDE**2), str(MAX_SIDE), str(MAX_SIDE)]
    size, *source, jpeg, _, _, _, others, _, _ = documented["an image for a message, which is scaled down"][1:]
    assert (size, source) == (str(MAX_IMAGE_BYTES), [str(MAX_SOURCE_SIDE)] * 2)
    assert (jpeg, others) == (str(MAX_JPEG_PIXELS // MAX_SIDE**2), str(MAX_PIXELS // MAX_SIDE**2))
    assert documented["a progressive JPEG"] == [str(MAX_SCANS), str(MAX_SCANS), str(MAX_SIDE), str(MAX_SIDE)]
    assert MAX_SCANNED_PIXELS == MAX_SCANS * MAX_SIDE**2
    assert documented["images that a worker reads from the storage"] == [
        str(storage.MAX_CONCURRENT_READS),
        str(storage.TIMEOUT_SECONDS),
    ]


def fetch_length_limits(dba: Connection, *fields: str) -> list[str]:
    """Return the distinct maximum lengths of fields."""
    found = dba.execute("select distinct upper(rules.length_limits(f)) - 1 from unnest(%s::text[]) f", [list(fields)])
    return [str(number) for (number,) in found]


def has_constants(dba: Connection, function: str, *constants: str) -> bool:
    """Return whether the body of a function contains all of these constants."""
    row = dba.execute("select prosrc from pg_proc where oid = %s::regproc", [function]).fetchone()
    assert row
    return all(re.search(rf"\b{constant}\b", row[0]) for constant in constants)


def test_limits_of_texts_and_pages_are_in_the_table(dba: Connection) -> None:
    documented = documented_limits()
    assert documented["a chat's title"] == fetch_length_limits(dba, "title")
    assert documented["a message's content"] == fetch_length_limits(dba, "content")
    settings = fetch_length_limits(dba, "name", "model", "runtime")
    assert documented["a user's name, a setting `model` or `runtime`"] == settings
    assert documented["the setting `context`"] == fetch_length_limits(dba, "context")
    assert documented["a user's ID"] == fetch_length_limits(dba, "userId")
    assert documented["a search query"] == fetch_length_limits(dba, "search")
    fields = dba.execute("select api.get_field_schemas()").fetchone()
    assert fields
    for limit, field in {
        "a page of chats or messages": "limit",
        "a page of members": "member_limit",
        "events in a response": "event_limit",
    }.items():
        assert documented[limit] == [str(fields[0][field][bound]) for bound in ("maximum", "default")]
    assert has_constants(dba, "parley.field_error", *documented["members in the request that creates a chat"])


def test_limits_of_searches_events_and_keys_are_in_the_table(dba: Connection) -> None:
    documented = documented_limits()
    assert has_constants(dba, "parley.search_by_relevance", *documented["hits that `sort=relevance` ranks"])
    assert documented["an event"] == [str(MAX_EVENT_BYTES)]
    assert has_constants(dba, "parley.record_event", *documented["an event"])
    length, hours = documented["an `Idempotency-Key`"]
    assert has_constants(dba, "parley.idempotency_key_error", length)
    assert has_constants(dba, "parley.idempotency_key_ttl", f"{hours} hours")


def test_limits_of_requests_are_in_the_table() -> None:
    documented = documented_limits()
    assert int(documented["a JSON body"][0]) * 1024 * 1024 == MAX_BODY
    defaults = ApiSettings.model_fields
    budget = [str(defaults[f"rate_limit_{name}"].default) for name in ("requests", "window")]
    assert documented["requests from one address"] == budget
    assert documented["the time of a request"] == [str(TIMEOUTS[f"{name}_TIMEOUT"]) for name in ("REQUEST", "RESPONSE")]
    assert documented["an idle connection"] == [str(TIMEOUTS["KEEP_ALIVE_TIMEOUT"])]
    probe = [str(PROBE_TIMEOUT_SECONDS), str(PROBE_MAX_AGE_SECONDS)]
    assert documented["a probe of the database by `/readyz`"] == probe
    assert documented["responses that clients have not read"] == [str(MAX_WRITE_BUFFER // 1024**2)]
    assert documented["the accepted clock skew of a token"] == [str(LEEWAY_SECONDS)]


def test_limits_of_admission_are_in_the_table() -> None:
    documented = documented_limits()
    waiting = [str(MAX_WAITING_PER_CONNECTION), str(ACQUIRE_TIMEOUT_SECONDS)]
    assert documented["requests that wait for a connection to PostgreSQL"] == waiting
    per_connection, *shares, seconds = documented["requests that wait for their slots"]
    assert [per_connection, seconds] == waiting
    assert shares == ["1", str(round(1 / MAX_USER_QUEUE_SHARE)), "1", str(round(1 / MAX_CHAT_QUEUE_SHARE))]
    (expensive,) = (limit for limit in documented if limit.startswith("expensive requests in flight"))
    assert documented[expensive] == [str(MAX_EXPENSIVE_PER_USER)]
    bounds = [EXPENSIVE_BODY_BYTES // 1024, LARGE_PAGE_SECONDS, LARGE_PAGE_BYTES // 1024]
    assert re.findall(r"\d+", expensive) == [str(bound) for bound in bounds]
    costs = (
        f"over {COST_THRESHOLD_SECONDS} seconds",
        f"each {BYTES_PER_SECOND_OF_COST // 10**6} MB",
        f"for {PAUSE_FACTOR} times that",
    )
    paragraph = README.partition("**In flight.**")[2].partition("\n\n")[0].replace("\n", " ")
    assert all(cost in paragraph for cost in (*costs, f"up to {MAX_PAUSE_SECONDS} seconds"))
    assert documented["writes in flight"] == [str(MAX_WRITES_PER_CHAT)]


def test_every_channel_and_event_is_in_the_tables() -> None:
    channels = [[f"`{channel.name}`", channel.subscribers, channel.content] for channel in CHANNELS]
    assert parse_table(README, "Channel") == channels
    assert parse_table(README, "Event") == [[f"`{event.name}`", summarize(event.payload)] for event in EVENTS]
    section = README.partition("## Live updates")[2].partition("\n## ")[0]
    assert all(f"`{name}`" in section for name in CHAT_EVENT_ONLY)
    assert f"of more than {MAX_EVENT_BYTES:,} bytes" in section
    assert f"of more than {MAX_CHANNEL_USER_ID_BYTES} bytes" in section


def summarize(model: type[BaseModel]) -> str:
    """Return the fields of a payload in braces, optional ones with a question mark, or its description."""
    if issubclass(model, RootModel):
        return model.__doc__ or ""
    return f"`{summarize_fields(model)}`"


def summarize_fields(model: type[BaseModel]) -> str:
    fields = []
    for field in model.model_fields.values():
        nested = ""
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            nested = f": {summarize_fields(field.annotation)}"
        fields.append(f"{field.alias}{'' if field.is_required() else '?'}{nested}")
    return "{" + ", ".join(fields) + "}"


def test_every_error_code_is_in_the_table() -> None:
    documented = {int(status): code.strip("`") for status, code, _ in parse_table(README, "Status")}
    assert documented == CODES


def test_every_sqlstate_with_its_own_status_is_in_the_table() -> None:
    documented = parse_table(SQL_README, "SQLSTATE or class")
    expected = [[f"`{state}`", str(status), cause] for state, (status, cause) in OVERRIDES.items()]
    expected += [[f"`{sqlstate_class}`", "503", cause] for sqlstate_class, cause in OUTAGES.items()]
    assert documented[:-1] == expected
    assert documented[-1][:2] == ["all others", "500"]


def test_named_paths_and_functions_exist(dba: Connection) -> None:
    for name, text in FILES.items():
        for path in re.findall(r"`((?:tests|sql|api|listener)/[\w./*]+)`", text):
            assert list(ROOT.glob(path)), (name, path)
    for function in set(re.findall(r"\b((?:api|listener|session|parley|rules)\.\w+)\(", SQL_README)):
        row = dba.execute(
            "select count(*) from pg_proc where pronamespace::regnamespace || '.' || proname = %s", [function]
        )
        assert row.fetchone() == (1,), function


def test_statements_of_the_sql_readme_work(dba: Connection) -> None:
    blocks = re.findall(r"```sql\n(.*?)```", SQL_README.partition("## For analysts")[0], flags=re.DOTALL)
    assert len(blocks) == 2
    created, listed = blocks[0].split(";\n")[:2]
    chat = dba.execute(created).fetchone()
    assert chat
    assert dba.execute(listed.replace("01a20a99-…", chat[0]["id"])).fetchone()
    dba.execute("set local role app")
    statements = [line for line in blocks[1].splitlines() if line.startswith("select")]
    results = [dba.execute(statement).fetchall() for statement in statements]
    assert [row[1] for row in results[-1]] == ["Plans"]


def test_every_view_is_in_the_catalogue_with_its_columns(dba: Connection) -> None:
    documented = {
        view.strip("`"): re.findall(r"`(\w+)`", columns) for view, _, columns in parse_table(SQL_README, "View")
    }
    expected = dba.execute(
        "select c.relname, array_agg(a.attname::text order by a.attnum) from pg_class c"
        " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0"
        " where c.relnamespace = 'analytics'::regnamespace and c.relkind in ('v', 'm') group by 1"
    ).fetchall()
    assert documented == dict(expected)


def test_queries_for_analysts_return_rows(postgres: Postgres, new_database: Callable[[str], str]) -> None:
    section = SQL_README.partition("## For analysts")[2].partition("\n## ")[0]
    queries = re.findall(r"```sql\n(.*?)```", section, flags=re.DOTALL)
    assert len(queries) == 5
    url = postgres.url(new_database("parley_questions"))
    with psycopg.connect(url, autocommit=True) as dba:
        chat = new_chat(dba, "owner", "member")
        for user in ("owner", "member"):
            call(dba, user, "send_message", chat, {"content": "Hello"})
        roll_up_to_now(dba)
        dba.execute("set role parley_analyst")
        for query in queries:
            assert len(dba.execute(query).fetchall()) == 1, query


def test_readme_has_the_two_commands() -> None:
    install = "python3 -m venv .venv && .venv/bin/pip install -e"
    assert f"\n{install} '.[local]' && .venv/bin/parley dev\n" in README
    assert f"\n{install} '.[dev]' && .venv/bin/pytest\n" in README
