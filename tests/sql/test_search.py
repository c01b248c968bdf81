"""Search in a chat."""
# ruff: noqa: RUF001 (the tests need other scripts)

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from tests.database import Connection, call, connect_rolled_back, expect_error, new_chat
from tests.tokens import new_user

MESSAGES = {
    "a": "The quick brown fox",
    "b": "A quick note on the brown paper",
    "c": "Slow and steady wins",
    "d": "quick: see deploy.sh -- 100% done",
    "e": "Größe ändern",
}


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("quick", "dba"),
        ("QUICK", "dba"),
        ("quick brown", "ba"),
        ('"quick brown"', "a"),
        ("quick -brown", "d"),
        ("slow or fox", "ca"),
        ("-quick", "ec"),
        ("größe", "e"),
        ("absent", ""),
        ("'\" & | ! :* \\ <->", ""),
        ("!!!", ""),
        ("--quick", "dba"),
        ("- quick -", "dba"),
        ("-" * 900 + "fox", "a"),
        ("- " * 400 + "fox", "a"),
        ('-"quick brown" quick', "db"),
        ("<!--" * 250, ""),
        ("deploy_sh", "d"),
        ("deploy/sh deploy.sh", "d"),
        ("", "edcba"),
        ("  ", "edcba"),
    ],
)
def test_search_finds_matching_messages(app: Connection, search: str, expected: str) -> None:
    user = new_user()
    chat = new_chat(app, user)
    names = {}
    for name, content in MESSAGES.items():
        names[call(app, user, "send_message", chat, {"content": content})["id"]] = name
    found = call(app, user, "list_messages", chat, search=search)
    assert "".join(names[m["id"]] for m in found["messages"]) == expected
    assert found["total"] == len(expected)


@pytest.mark.parametrize("operator", ["a or ", "-a ", '-"a b" ', "x OR -"])
def test_search_has_at_most_20_operators(app: Connection, operator: str) -> None:
    user = new_user()
    chat = new_chat(app, user)
    per_term = 2 if operator == "x OR -" else 1
    longest = operator * (20 // per_term) + "z"
    assert call(app, user, "list_messages", chat, search=longest)["total"] == 0
    for function, arguments in (("list_messages", [chat]), ("search", [])):
        with expect_error(400) as error:
            call(app, user, function, *arguments, search=operator + longest)
        assert error.fields == {"search": 'must use "or" and "-" at most 20 times'}


@pytest.mark.parametrize("search", ["ore, for, door " * 50, "a-b " * 100, "- " * 100, "or" * 100])
def test_words_that_look_like_operators_do_not_count(app: Connection, search: str) -> None:
    user = new_user()
    assert call(app, user, "list_messages", new_chat(app, user), search=search)["total"] == 0


def test_search_combines_with_other_filters(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    sent = [
        call(app, user, "send_message", chat, {"content": f"word {n}", "type": ("text", "code")[n % 2]})
        for n in range(10)
    ]
    codes = [m["id"] for m in reversed(sent) if m["type"] == "code"]
    page = call(app, user, "list_messages", chat, search="word", type="code", page="2", limit="2")
    assert [m["id"] for m in page["messages"]] == codes[2:4]
    assert page["total"] == 5
    none = call(app, user, "list_messages", chat, search="word", end_date="2020-01-01")
    assert (none["messages"], none["total"]) == ([], 0)


def test_search_finds_only_messages_of_its_chat(app: Connection) -> None:
    user, stranger = new_user(), new_user()
    chat, other = new_chat(app, user), new_chat(app, stranger)
    call(app, user, "send_message", chat, {"content": "secret plan"})
    assert call(app, user, "list_messages", chat, search="secret")["total"] == 1
    assert call(app, stranger, "list_messages", other, search="secret")["total"] == 0


def test_text_of_the_maximum_length_is_searchable(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    words = " ".join(f"w{n}" for n in range(10_000))[:32_768]
    call(app, user, "send_message", chat, {"content": words})
    call(app, user, "send_message", chat, {"content": "上" * 32_768})
    assert call(app, user, "list_messages", chat, search="w1 w5000")["total"] == 1


@given(search=st.text("-- \"'a!&|<>():*\\", max_size=1000))
def test_no_search_raises_an_error(postgres: Postgres, shared_database: str, search: str) -> None:
    with connect_rolled_back(postgres.url(shared_database, "app", "app")) as connection:
        connection.execute("select parley.parse_search(%s)", [search])


TYPED = st.text("abcAB12_-'’./@:+#上海家가사さがー éßÞøйﬁ²ｱ١ ", min_size=1, max_size=40)


@given(content=TYPED)
def test_text_is_found_by_itself_and_by_each_of_its_words(
    postgres: Postgres, shared_database: str, content: str
) -> None:
    with connect_rolled_back(postgres.url(shared_database, "app", "app")) as connection:
        for typed in (content, *content.split()):
            for search in (f'"{typed}"', f'"{typed}', typed.lstrip("-"), f"{typed.lstrip('-')} "):
                row = connection.execute(
                    "select tsv_query is null or tsv @@ tsv_query, tsv_query"
                    " from rules.search_document(%s), parley.parse_search(%s)",
                    [content, search],
                ).fetchone()
                assert row is not None
                assert row[0] or re.search(r"(^|\s)-\S", search), (search, row[1])


@pytest.mark.parametrize("repeated", ["a_", "a-b_", "Ab9_", "<!--", "a@b.", "a/b:", "1.2-"])
def test_no_text_is_slow_to_index(app: Connection, repeated: str) -> None:
    user = new_user()
    chat = new_chat(app, user)
    app.execute("set local statement_timeout = '1s'")  # a regular expression took 3 to 13 s
    call(app, user, "send_message", chat, {"content": (repeated * 20_000)[:32_768]})
