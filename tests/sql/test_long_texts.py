"""Search is exact in texts of any length, compared with a plain scan of the text."""
# ruff: noqa: S311 (not for secrets)

import random
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from tests.database import Connection, call, connect_rolled_back, new_chat
from tests.tokens import new_user

MAX_LENGTH = 32_768
WORDS = ("ok", "done", "a", "re-run", "x1", "404", "café", "Ωmega", "привет", "🎉", "किताब")
SEPARATORS = (" ", "\n", ", ", " - ", "/", "...")


class Chat:
    """A chat with some messages, and a user who searches in it."""

    def __init__(self, connection: Connection, *contents: str) -> None:
        self.connection, self.user = connection, new_user()
        self.id = new_chat(connection, self.user)
        for content in contents:
            call(connection, self.user, "send_message", self.id, {"content": content})

    def count(self, search: str, **filters: str) -> int:
        """Return the total of a search in the chat, after comparing it with a search in all chats."""
        found = call(self.connection, self.user, "list_messages", self.id, search=search, **filters)
        everywhere = call(self.connection, self.user, "search", search=search, **filters)
        assert [m["id"] for m in found["messages"]] == [m["id"] for m in everywhere["messages"]]
        return int(found["total"])


def has_positions(connection: Connection, content: str) -> bool:
    """Return whether a tsvector can have all positions of the words of a text."""
    row = connection.execute("select words is null from rules.search_document(%s)", [content]).fetchone()
    assert row is not None
    return bool(row[0])


@pytest.fixture(scope="module")
def connection(postgres: Postgres, shared_database: str) -> Iterator[Connection]:
    with connect_rolled_back(postgres.url(shared_database, "app", "app")) as connection:
        yield connection


@pytest.mark.parametrize("repeated", [1, 253, 254, 255, 256, 257, 5000])
def test_phrase_is_found_after_any_number_of_its_words(app: Connection, repeated: int) -> None:
    chat = Chat(app, "ok " * repeated + "ok done", "done " * repeated + "ok")
    assert chat.count('"ok done"') == 1
    assert chat.count('"done ok"') == 1
    assert chat.count('"ok ok done"') == 1
    assert chat.count('"ok done ok"') == 0
    assert chat.count("ok done") == 2


@pytest.mark.parametrize("words", [16_379, 16_380, 16_381, 16_382])
def test_phrase_is_found_after_any_number_of_other_words(app: Connection, words: int) -> None:
    filling = " ".join("abcdefghijklmnopqrstuvwxyz"[n % 26] for n in range(words))
    chat = Chat(app, f"{filling} ok", f"{filling} 1 ok")
    assert chat.count(f'"{filling[-1]} ok"') == 1
    assert chat.count('"1 ok"') == 1
    assert chat.count('"ok 1"') == 0


def test_words_are_stored_beyond_the_limits_of_a_tsvector(app: Connection) -> None:
    assert has_positions(app, "ok " * 254)
    assert not has_positions(app, "ok " * 255)
    distinct = [f"{n:x}" for n in range(16_384)]
    assert has_positions(app, " ".join(distinct[:-1]))
    assert not has_positions(app, " ".join(distinct))


@pytest.mark.parametrize(
    ("search", "total"),
    [
        ('"ok done"', 1),
        ('"ok don', 1),
        ('"ok don"', 0),
        ('-"ok done"', 1),
        ('tail -"ok done"', 1),
        ('head or "ok done"', 2),
        ('"head ok" "ok done"', 0),
        ('"ok done" tail', 0),
        ("ok/done", 1),
        ("ok/don", 1),
        ("done/ok", 0),
        ("okdone", 0),
        ("user.getName()", 1),
        ("get_name", 1),
        ("getname", 1),
        ('"user getname"', 1),
        ('"getnames"', 0),
        ("上海东", 1),
        ("海上", 0),
        ('"在上海东边 ok"', 1),
        ('"ok 在上"', 0),
        ('"🎉 ok"', 1),
        ('"ok 🎉"', 1),
        ('"🎉 done"', 0),
        ("🇩🇪", 1),
        ("🇪🇫", 0),
    ],
)
def test_search_is_exact_in_a_text_without_positions(connection: Connection, search: str, total: int) -> None:
    long = "ok " * 300 + "call user.getName() 我家在上海东边 ok 🎉 ok 🇩🇪🇫🇷 ok done"
    with connection.transaction(force_rollback=True):
        assert Chat(connection, long, "head " + "ok " * 300 + "tail").count(search) == total


def test_relevance_detects_a_phrase_at_any_position(app: Connection) -> None:
    chat = Chat(app, "ok " * 300 + "done", "done " * 200 + "ok", "done ok " * 200)
    found = call(app, chat.user, "list_messages", chat.id, search="ok done", sort="relevance")
    first = found["messages"][0]["content"]
    assert "ok done" in first
    assert found["total"] == 3


@given(data=st.data(), seed=st.integers(0, 2**32), vocabulary=st.lists(st.sampled_from(WORDS), min_size=2, unique=True))
@settings(max_examples=30)
def test_phrases_match_a_plain_scan(
    connection: Connection, data: st.DataObject, seed: int, vocabulary: list[str]
) -> None:
    rng = random.Random(seed)
    words = rng.choices(vocabulary, k=data.draw(st.sampled_from([5, 300, 3000])))
    text = "".join(word + rng.choice(SEPARATORS) for word in words)
    with connection.transaction(force_rollback=True):
        chat = Chat(connection, text)
        for _ in range(5):
            start, length = rng.randrange(len(words)), rng.randint(2, 4)
            for phrase in (words[start : start + length], rng.choices(vocabulary, k=length)):
                assert chat.count('"' + " ".join(phrase) + '"') == contains_phrase(phrase, text), phrase


def contains_phrase(phrase: list[str], text: str) -> bool:
    """Return whether a text has these words in sequence."""
    words = " ".join(re.split(r"[-\s,./]+", text))
    return f" {' '.join(phrase).replace('-', ' ')} " in f" {words} "


@given(
    seed=st.integers(0, 2**32),
    length=st.sampled_from([3, 200, 9000, MAX_LENGTH]),
    letters=st.sampled_from(["上海东京", "サガか", "ภาษาไ", "서울에"]),
)
@settings(max_examples=20)
def test_parts_of_unspaced_text_match_a_plain_scan(
    connection: Connection, seed: int, length: int, letters: str
) -> None:
    rng = random.Random(seed)
    text = "".join(rng.choices(letters, k=length))
    with connection.transaction(force_rollback=True):
        chat = Chat(connection, text)
        for size in (1, 2, 3, 6, 12):
            start = rng.randrange(length)
            for part in (text[start : start + size], "".join(rng.choices(letters, k=size))):
                assert chat.count(part) == (part in text), part


def test_negated_phrases_match_a_plain_scan(app: Connection) -> None:
    rng = random.Random(1)
    texts = ["go " + " ".join(rng.choices(["ok", "done", "x"], k=rng.choice([4, 400]))) for _ in range(20)]
    chat = Chat(app, *texts)
    for first, second in pairwise(["ok", "done", "x", "x", "ok", "ok"]):
        assert chat.count(f'go -"{first} {second}"') == sum(f"{first} {second}" not in text for text in texts)
