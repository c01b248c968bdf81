"""Folding of text for search: what it takes for the same, and that no text makes it expensive."""
# ruff: noqa: RUF001 (other scripts are what this is about)

import sys
import unicodedata
from collections.abc import Iterator
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from tests.support import Connection, call, new_chat, new_user, rolled_back

MAX_LENGTH = 32_768
MAX_RUN = 31  # of combining characters in a stream-safe text, of which one may be the second of a character that is two
MARKS = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.combining(chr(c))]
CLASSES = {unicodedata.combining(mark): mark for mark in MARKS}

# Every character before which PostgreSQL's normalize() moves U+0345, which has the highest combining class.
NONSTARTERS = """
    select array_agg(chr(c)) from generate_series(1, 1114111) c
    where c not between 55296 and 57343 and (c = 837 or normalize(U&'\\0345' || chr(c), nfd) !~ U&'^\\0345')
"""


@pytest.fixture(scope="module")
def connection(postgres: Postgres, shared_database: str) -> Iterator[Connection]:
    with rolled_back(postgres.url(shared_database, "app", "app")) as connection:
        yield connection


def value(connection: Connection, function: str, text: str) -> str:
    """Return what a function in schema `rules` makes of a text."""
    row = connection.execute(f"select rules.{function}(%s)", [text]).fetchone()
    assert row is not None
    return str(row[0])


def longest_run(text: str) -> int:
    """Return how many combining characters follow each other at most, once a text is decomposed."""
    runs = groupby(unicodedata.normalize("NFKD", text), lambda c: unicodedata.combining(c) > 0)
    return max((len(list(run)) for is_combining, run in runs if is_combining), default=0)


@pytest.mark.parametrize("ccc", sorted(CLASSES))
def test_no_combining_class_makes_a_long_run(connection: Connection, ccc: int) -> None:
    mark, others = CLASSES[ccc], [CLASSES[other] for other in CLASSES if other != ccc]
    for text in (mark * MAX_LENGTH, *((mark + other) * 500 for other in others)):
        assert longest_run(text) >= 1000
        assert longest_run(value(connection, "stream_safe", text)) <= 2 * MAX_RUN


def test_every_character_that_normalize_reorders_is_broken_up(connection: Connection) -> None:
    row = connection.execute(NONSTARTERS).fetchone()
    assert row is not None
    assert len(row[0]) > 900
    whole = "select c from unnest(%s::text[]) c where rules.stream_safe(repeat(c, 600)) !~ U&'^(.{30}\\034f){19}'"
    assert connection.execute(whole, [row[0]]).fetchall() == []


@given(text=st.text(st.sampled_from([*MARKS, "\u0344", "\u0f73", "a", "ⱥ", "\U0001d15f"]), min_size=500, max_size=2000))
def test_a_stream_safe_text_is_the_same_text(connection: Connection, text: str) -> None:
    safe = value(connection, "stream_safe", text)
    assert safe.replace("\u034f", "") == text.replace("\u034f", "")
    assert longest_run(safe) <= 2 * MAX_RUN


@pytest.mark.parametrize("length", [1, 30, 31, 499, 500, 5000])
def test_marks_on_a_letter_are_ignored_however_many(connection: Connection, length: int) -> None:
    marks = ("\u0344\u0334\u0301\u0323" * length)[:length]
    assert value(connection, "fold", f"{marks}cafe{marks} noir") == "cafe noir"


def test_ordinary_text_needs_no_breaks(connection: Connection) -> None:
    for word in ("Ångström", "nghiêng", "हिन्दी", "ไม่ได้", "བོད་སྐད", "ខ្មែរ", "שָׁלוֹם", "العَرَبِيَّة", "한국어", "が"):
        for form in ("NFC", "NFD"):
            text = unicodedata.normalize(form, (word + " ") * 300)
            assert value(connection, "stream_safe", text) == text


@pytest.mark.parametrize(
    ("letters", "letter"),
    [("كکڪ", "ك"), ("يیى", "ي"), ("هہھە", "ه"), ("ةۃ", "ة"), ("ﻙﮎ", "ك"), ("ﻱﯼﻯ", "ي"), ("١۱", "1")],
)
def test_letters_of_one_keyboard_family_are_one(connection: Connection, letters: str, letter: str) -> None:
    assert {value(connection, "fold", written) for written in letters} == {letter}


@pytest.mark.parametrize("letters", ["یے", "نں", "كگ", "بپ", "جچ", "وۇ"])
def test_letters_with_keys_of_their_own_are_not(connection: Connection, letters: str) -> None:
    assert len({value(connection, "fold", written) for written in letters}) == 2


@pytest.mark.parametrize("character", ["ﷺ", "ﷻ", "㌖", "㎯", "⑽", "⁗", "ﬃ", "ᾂ", "한"])
def test_no_character_makes_a_text_many_times_longer(app: Connection, character: str) -> None:
    content = character * (MAX_LENGTH - 7) + " needle"
    assert len(value(app, "fold", content)) <= 3 * MAX_LENGTH + 1000
    user = new_user()
    chat = new_chat(app, user)
    call(app, user, "send_message", chat, {"content": content})
    assert call(app, user, "list_messages", chat, search="needle")["total"] == 1


def test_a_text_with_few_long_characters_has_their_letters(connection: Connection) -> None:
    assert value(connection, "fold", "محمد ﷺ") == "محمد صلي الله عليه وسلم"
    assert value(connection, "fold", "5 ㌖") == "5 キロメートル"
