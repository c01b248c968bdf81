"""Search for emoji: each is a word by itself. The lists are those of Unicode 18.0, from the package emoji."""
# ruff: noqa: RUF001 (the tests need symbols that look like letters)

import re
from collections.abc import Iterator

import emoji
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, call, connect_rolled_back, new_chat
from tests.tokens import new_user

SELECTOR = "\ufe0f"
TONES = [chr(c) for c in range(0x1F3FB, 0x1F400)]
LETTERS = [chr(c) for c in range(0x1F1E6, 0x1F200)]  # two of these form a flag
SEQUENCES = list(emoji.EMOJI_DATA)
# Emoji=Yes of emoji-data.txt, without the ASCII characters of keycaps.
CHARACTERS = sorted({s.replace(SELECTOR, "") for s in SEQUENCES if len(s.replace(SELECTOR, "")) == 1} | {*LETTERS})
KEYCAPS = [s for s in SEQUENCES if s.endswith("\u20e3")]
SUBDIVISIONS = [s for s in SEQUENCES if s.startswith("\U0001f3f4\U000e0067") and s.endswith("\U000e007f")]
TAILS = ("", SELECTOR)


@pytest.fixture(scope="module")
def connection(postgres: Postgres, shared_database: str) -> Iterator[Connection]:
    with connect_rolled_back(postgres.url(shared_database, "app", "app")) as connection:
        yield connection


def unmatched(connection: Connection, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs of a text and a search in which the search does not find the text."""
    rows = connection.execute(
        "select p.content, p.search from unnest(%s::text[], %s::text[]) p (content, search)"
        " where (select d.tsv @@ q.tsv_query from rules.search_document(p.content) d, parley.parse_search(p.search) q)"
        " is not true",
        [[content for content, _ in pairs], [search for _, search in pairs]],
    ).fetchall()
    return [(str(content), str(search)) for content, search in rows]


def is_found(connection: Connection, content: str, search: str) -> bool:
    """Return whether a search finds a text."""
    return unmatched(connection, [(content, search)]) == []


def test_lists_of_emoji_are_complete() -> None:
    assert (len(CHARACTERS) >= 1435, len(KEYCAPS), len(SUBDIVISIONS)) == (True, 24, 3)
    assert {"™", "ℹ", "Ⓜ", "㊗", "🈁", "↔", "〰", "🏽", "🇫"} <= {*CHARACTERS}


@pytest.mark.parametrize("template", ["{}", "so {} it is", "word{}word", "2{}3", "上{}海", "{}\N{LEFT-TO-RIGHT MARK}"])
def test_each_emoji_is_found_by_itself(connection: Connection, template: str) -> None:
    pairs = [
        (template.format(character + tail), form.format(character + typed))
        for character in CHARACTERS
        for tail in TAILS
        for typed in TAILS
        for form in ("{}", '"{}"')
    ]
    assert unmatched(connection, pairs) == []


def test_emoji_separates_words_and_is_a_word_in_a_phrase(connection: Connection) -> None:
    pairs = [(f"foo{c}bar", search) for c in CHARACTERS for search in ("foo ", "bar", f'"foo {c} bar"', f"foo{c}bar")]
    assert unmatched(connection, pairs) == []
    pairs = [("foo bar", f'"foo {c} bar"') for c in CHARACTERS]
    assert unmatched(connection, pairs) == pairs


def test_emoji_can_be_negated(connection: Connection) -> None:
    pairs = [(f"foo {c}", f"foo -{c}{tail}") for c in CHARACTERS for tail in TAILS]
    assert unmatched(connection, pairs) == pairs
    assert unmatched(connection, [("foo", search) for _, search in pairs]) == []


def test_no_emoji_finds_another_emoji_or_a_letter(connection: Connection) -> None:
    assert [c for c in CHARACTERS if is_found(connection, "i m tm 祝 秘 サ ココ 無 ! !! !?", c)] == []
    row = connection.execute(
        "select count(distinct rules.split_words(rules.fold(c))) from unnest(%s::text[]) c", [CHARACTERS]
    )
    assert row.fetchone() == (len(CHARACTERS),)


def test_each_sequence_is_found_with_and_without_selectors(connection: Connection) -> None:
    pairs = [(text.format(s), s) for s in SEQUENCES for text in ("{}", "word{}word")]
    pairs += [(s.replace(SELECTOR, ""), s) for s in SEQUENCES if SELECTOR in s]
    pairs += [(s, s.replace(SELECTOR, "")) for s in SEQUENCES if SELECTOR in s]
    assert unmatched(connection, pairs) == []


def test_skin_tone_is_ignored_after_an_emoji_that_has_skin_tones(connection: Connection) -> None:
    toned = [s for s in SEQUENCES if re.search("[\U0001f3fb-\U0001f3ff]", s) and len(s) > 1]
    plain = [re.sub("[\U0001f3fb-\U0001f3ff]", "", s) for s in toned]
    assert len(toned) > 2000
    assert unmatched(connection, [*zip(toned, plain, strict=True), *zip(plain, toned, strict=True)]) == []
    palette = "".join(TONES)
    pairs = [(text, tone) for text in (palette, f"🏺{palette}", f"a{palette}") for tone in TONES]
    assert unmatched(connection, pairs) == []
    assert not is_found(connection, "👍🏽", "🏽")


def test_keycap_of_a_digit_is_the_digit_and_others_are_words(connection: Connection) -> None:
    for keycap in KEYCAPS:
        sign = keycap[0]
        for text in (keycap, f"step{keycap}", f"{keycap}go", f"{keycap}{keycap}"):
            assert is_found(connection, text, keycap)
            assert is_found(connection, text, sign) == sign.isdigit()
            assert not is_found(connection, text, f"-{keycap}")
        assert is_found(connection, sign, keycap) == sign.isdigit()
    assert not is_found(connection, "#️⃣", "*️⃣")
    assert is_found(connection, "m\u20e3eeting #\u0301", "meeting")
    assert is_found(connection, "C# part", "c#")


def test_flag_is_one_word(connection: Connection) -> None:
    black = "\N{WAVING BLACK FLAG}"
    flags = [*SUBDIVISIONS, "🇫🇷", "🇩🇪", black]
    for flag in flags:
        for text in (flag, f"go{flag}go", f"{flag}{flag}"):
            for typed in flags:
                assert is_found(connection, text, typed) == (typed == flag)
                assert is_found(connection, f"foo {text}", f"foo -{typed}") == (typed != flag)
    assert is_found(connection, f"x\U000e0067y {SUBDIVISIONS[0]}", "xy")


@pytest.mark.parametrize("sign", ["™", "©", "®", "™️", "℠"])
def test_sign_after_a_name_can_be_omitted(connection: Connection, sign: str) -> None:
    text = f"The Parley{sign} app"
    for search in ("parley", "parley ", f"parley{sign}", '"parley app"', '"the parley"', f'"parley{sign} app"'):
        assert is_found(connection, text, search), search
    assert is_found(connection, "The Parley app", f"parley{sign}")
    assert not is_found(connection, text, f"-parley{sign}")


def test_symbols_that_are_not_emoji_separate_words(connection: Connection) -> None:
    for symbol in "→⇒←∞§·•":
        assert is_found(connection, f"foo {symbol} bar", f'"foo {symbol} bar"')
        assert is_found(connection, f"foo {symbol} bar", '"foo bar"')
        assert is_found(connection, "foo bar", f'"foo {symbol} bar"')
    assert not is_found(connection, "foo → bar", '"foo ↔ bar"')


def test_emoji_are_found_through_the_api(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    call(app, user, "send_message", chat, {"content": "Parley™ ↔️ #️⃣"})
    for search, total in (("™", 1), ("↔", 1), ("#️⃣", 1), ("parley", 1), ("parley -↔️", 0), ("*️⃣", 0)):
        assert call(app, user, "list_messages", chat, search=search)["total"] == total, search
