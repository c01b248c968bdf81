"""Folding of text for search: spellings that become equal, and limits of the length of the result."""
# ruff: noqa: RUF001 (the tests need other scripts)

import sys
import unicodedata
from collections.abc import Iterator
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from tests.database import Connection, call, connect_rolled_back, new_chat
from tests.tokens import new_user

MAX_LENGTH = 32_768
MAX_RUN = 31  # combining characters: 30, and the second one of a starter that decomposes into two
MARKS = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.combining(chr(c))]
CLASSES = {unicodedata.combining(mark): mark for mark in MARKS}

# Default_Ignorable_Code_Point of Unicode 18.0 (DerivedCoreProperties.txt), unassigned code points included.
DEFAULT_IGNORABLE = (
    "00AD 034F 061C 115F-1160 17B4-17B5 180B-180F 200B-200F 202A-202E 2060-206F 3164 FE00-FE0F FEFF FFA0 FFF0-FFF8"
    " 1BCA0-1BCA3 1D173-1D17A E0000-E0FFF"
)
# Letters of the Arabic script that search folds to the first one, with the source of the equivalence.
ARABIC_LETTERS = {
    "كکڪ": "the same skeleton in confusables.txt of UTS #39",
    "يیى": "the same skeleton",
    "هہھە": "the same skeleton",
    "ةۃ": "the same skeleton",
    "ڬݢ": "the same skeleton",
    "ڭݣ": "the same skeleton",
    "گګ": "one key, AC11, on different layouts in symbols/af and symbols/ir of xkeyboard-config",
    "اٱأإآ": "an alef with a mark; on no layout a key of the first level but for the first and آ",
}
# Letters that stay distinct: one keyboard layout has a key for each.
DISTINCT_ARABIC_LETTERS = [
    "یے",
    "نں",
    "كگ",
    "بپ",
    "جچ",
    "وۇ",
    "وۆ",
    "یې",
    "یۍ",
    "یێ",
    "ېۍ",
    "ةه",
    "ۃہ",
    "رڕ",
    "لڵ",
    "گڳ",
]

# All characters that normalize() reorders with U+0345, which has the highest combining class.
NONSTARTERS = """
    select array_agg(chr(c)) from generate_series(1, 1114111) c
    where c not between 55296 and 57343 and (c = 837 or normalize(U&'\\0345' || chr(c), nfd) !~ U&'^\\0345')
"""


@pytest.fixture(scope="module")
def connection(postgres: Postgres, shared_database: str) -> Iterator[Connection]:
    with connect_rolled_back(postgres.url(shared_database, "app", "app")) as connection:
        yield connection


def apply(connection: Connection, function: str, text: str) -> str:
    """Return the result of a function in schema `rules` for a text."""
    row = connection.execute(f"select rules.{function}(%s)", [text]).fetchone()
    assert row is not None
    return str(row[0])


def longest_run(text: str) -> int:
    """Return the length of the longest run of combining characters in the decomposed text."""
    runs = groupby(unicodedata.normalize("NFKD", text), lambda c: unicodedata.combining(c) > 0)
    return max((len(list(run)) for is_combining, run in runs if is_combining), default=0)


@pytest.mark.parametrize("ccc", sorted(CLASSES))
def test_no_combining_class_makes_a_long_run(connection: Connection, ccc: int) -> None:
    mark, others = CLASSES[ccc], [CLASSES[other] for other in CLASSES if other != ccc]
    for text in (mark * MAX_LENGTH, *((mark + other) * 500 for other in others)):
        assert longest_run(text) >= 1000
        assert longest_run(apply(connection, "stream_safe", text)) <= 2 * MAX_RUN


def test_runs_of_each_character_that_normalize_reorders_are_broken(connection: Connection) -> None:
    row = connection.execute(NONSTARTERS).fetchone()
    assert row is not None
    assert len(row[0]) > 900
    whole = "select c from unnest(%s::text[]) c where rules.stream_safe(repeat(c, 600)) !~ U&'^(.{30}\\034f){19}'"
    assert connection.execute(whole, [row[0]]).fetchall() == []


@given(text=st.text(st.sampled_from([*MARKS, "\u0344", "\u0f73", "a", "ⱥ", "\U0001d15f"]), min_size=500, max_size=2000))
def test_stream_safe_changes_nothing_else(connection: Connection, text: str) -> None:
    safe = apply(connection, "stream_safe", text)
    assert safe.replace("\u034f", "") == text.replace("\u034f", "")
    assert longest_run(safe) <= 2 * MAX_RUN


@pytest.mark.parametrize("length", [1, 30, 31, 499, 500, 5000])
def test_any_number_of_marks_on_a_letter_is_ignored(connection: Connection, length: int) -> None:
    marks = ("\u0344\u0334\u0301\u0323" * length)[:length]
    assert apply(connection, "fold", f"{marks}cafe{marks} noir") == "cafe noir"


def test_ordinary_text_is_not_broken(connection: Connection) -> None:
    for word in ("Ångström", "nghiêng", "हिन्दी", "ไม่ได้", "བོད་སྐད", "ខ្មែរ", "שָׁלוֹם", "العَرَبِيَّة", "한국어", "が"):
        for form in ("NFC", "NFD"):
            text = unicodedata.normalize(form, (word + " ") * 300)
            assert apply(connection, "stream_safe", text) == text


@pytest.mark.parametrize("letters", ARABIC_LETTERS)
def test_letters_of_one_keyboard_family_fold_to_one(connection: Connection, letters: str) -> None:
    assert {apply(connection, "fold", written) for written in letters} == {letters[0]}


@pytest.mark.parametrize(("letters", "letter"), [("ﻙﮎ", "ك"), ("ﻱﯼﻯ", "ي"), ("ﮒ", "گ"), ("ﭐ", "ا")])
def test_presentation_forms_of_these_letters_fold_to_one(connection: Connection, letters: str, letter: str) -> None:
    assert {apply(connection, "fold", written) for written in letters} == {letter}


@pytest.mark.parametrize("letters", DISTINCT_ARABIC_LETTERS)
def test_letters_with_their_own_keys_stay_distinct(connection: Connection, letters: str) -> None:
    assert len({apply(connection, "fold", written) for written in letters}) == 2


def test_digits_of_all_scripts_fold_to_ascii(connection: Connection) -> None:
    points = {c for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) == "Nd"}
    # Python's Unicode data may lack the digits that were added in 15.0 to 18.0.
    newer = (0x10D40, 0x116D0, 0x116DA, 0x11BF0, 0x11F50, 0x16130, 0x16D70, 0x1CCF0, 0x1E4F0, 0x1E5F1)
    digits = [chr(c) for c in sorted(points | {zero + d for zero in newer for d in range(10)})]
    assert len(digits) >= 760
    expected = [str(i % 10) for i in range(len(digits))]
    assert list(apply(connection, "fold", "".join(digits))) == expected
    assert [apply(connection, "fold", digit) for digit in digits] == expected


def test_default_ignorable_code_points_are_ignored(connection: Connection) -> None:
    bounds = [part.split("-") for part in DEFAULT_IGNORABLE.split()]
    points = [chr(c) for b in bounds for c in range(int(b[0], 16), int(b[-1], 16) + 1)]
    assert len(points) > 4000
    whole = (
        "select c from unnest(%s::text[]) c"
        " where rules.fold('x' || c || 'y' || c) <> 'xy' or rules.fold('葛' || c || '城') <> '葛城'"
    )
    assert connection.execute(whole, [points]).fetchall() == []


@pytest.mark.parametrize("character", ["ﷺ", "ﷻ", "㌖", "㎯", "⑽", "⁗", "ﬃ", "ᾂ", "한", "㍿", "ﷲ"])
def test_no_character_expands_a_text_more_than_fourfold(app: Connection, character: str) -> None:
    content = character * (MAX_LENGTH - 7) + " needle"
    assert len(apply(app, "fold", content)) <= 4 * MAX_LENGTH
    user = new_user()
    chat = new_chat(app, user)
    call(app, user, "send_message", chat, {"content": content})
    assert call(app, user, "list_messages", chat, search="needle")["total"] == 1


def test_no_character_expands_to_more_than_four_in_long_texts(connection: Connection) -> None:
    longer = (
        "select chr(c) from generate_series(1, 1114111) c"
        " where c not between 55296 and 57343 and normalize(chr(c), nfkd) <> chr(c) and {} > {}"
    )
    assert connection.execute(longer.format("char_length(rules.fold(chr(c), 0))", 4)).fetchall() == []
    assert len(connection.execute(longer.format("char_length(rules.fold(chr(c)))", 4)).fetchall()) > 10


def test_word_ligatures_are_expanded(connection: Connection) -> None:
    assert apply(connection, "fold", "محمد ﷺ").split() == ["محمد", "صلي", "الله", "عليه", "وسلم"]
    assert apply(connection, "fold", "5 ㌖") == "5 キロメートル"
    assert apply(connection, "fold", "㍿ ﷲ") == "株式会社 الله"


@pytest.mark.parametrize("count", [1, 55, 100, 5_000, 16_000])
@pytest.mark.parametrize("character", ["ﷺ", "ﷻ", "㌖"])
def test_texts_with_any_number_of_word_ligatures_are_searchable(app: Connection, character: str, count: int) -> None:
    user = new_user()
    chat = new_chat(app, user)
    call(app, user, "send_message", chat, {"content": f"{f'{character} ' * count}ﬁle ｍｅｅｔ x ﷲ y 5 ㌖"})
    typed = (character, f'"{character}"', f'"{character} file"', "file", "ﬁle", "meet", "ｍｅｅｔ", '"x ﷲ y"', '"5 ㌖"')
    for search in typed:
        assert call(app, user, "list_messages", chat, search=search)["total"] == 1, search
        assert call(app, user, "list_messages", chat, search=f"meet -{search}")["total"] == 0, search


@pytest.mark.parametrize("content", ["ﷺ", "محمدﷺ", "ﷺﷺ", "صلى الله عليه وسلم"])
def test_word_ligature_is_found_by_itself_and_by_its_words(app: Connection, content: str) -> None:
    user = new_user()
    chat = new_chat(app, user)
    call(app, user, "send_message", chat, {"content": content})
    for search in ("ﷺ", "صلى الله عليه وسلم", '"الله عليه"'):
        assert call(app, user, "list_messages", chat, search=search)["total"] == 1, search
    assert call(app, user, "list_messages", chat, search="-ﷺ")["total"] == 0
