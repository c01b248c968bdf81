"""Snippets: fragments of messages as HTML, with the hits of a search marked."""
# ruff: noqa: RUF001 (the tests need other scripts)

import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from tests.database import Connection, connect_rolled_back

LONG = "one two three " * 40


def snippet(connection: Connection, search: str, content: str, *, is_within_budget: bool = True) -> str:
    """Return the snippet of a message."""
    row = connection.execute(
        "select parley.snippet(%s, parley.parse_highlight(%s), %s)", [content, search, is_within_budget]
    ).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(
    ("search", "content", "expected"),
    [
        ("quick", "The quick brown fox", "The <mark>quick</mark> brown fox"),
        ("deploy ", "Deploying it. Deployed!", "<mark>Deploying</mark> it. <mark>Deployed</mark>!"),
        ("dep", "a deployment", "a <mark>deployment</mark>"),
        ("cat ", "concatenate the cat, scat", "concatenate the <mark>cat</mark>, scat"),
        ('"brown fox"', "a brown fox", "a <mark>brown</mark> <mark>fox</mark>"),
        ("fox -wolf", "fox, wolf", "<mark>fox</mark>, wolf"),
        ("the fox", "the fox", "<mark>the</mark> <mark>fox</mark>"),
        ("resume ", "mon résumé", "mon <mark>résumé</mark>"),
        ("resume ", unicodedata.normalize("NFD", "mon résumé"), "mon <mark>résumé</mark>"),
        ("RÉSUMÉ", "mon resume", "mon <mark>resume</mark>"),
        ("strasse", "Goethes Straße", "Goethes <mark>Straße</mark>"),
        ("oeuvre", "son œuvre", "son <mark>œuvre</mark>"),
        ("getname", "user.getName()", "user.<mark>getName</mark>()"),
        ("name", "user.getName()", "user.get<mark>Name</mark>()"),
        ("get_name", "user.getName()", "user.<mark>getName</mark>()"),
        ("email", "an e-mail", "an <mark>e-mail</mark>"),
        ("don't", "I don’t", "I <mark>don’t</mark>"),
        ("1.2.3", "is 1.2.3", "is <mark>1</mark>.<mark>2</mark>.<mark>3</mark>"),
        ("上海", "我家在上海东边", "我家在<mark>上海</mark>东边"),
        ("上海东", "我家在上海东边", "我家在<mark>上海东</mark>边"),
        ("家", "我家", "我<mark>家</mark>"),
        ("서울", "내일 서울에서 만나요", "내일 <mark>서울</mark>에서 만나요"),
        ("ガラス", "窓ガラスが", "窓<mark>ガラス</mark>が"),
        ("отчет ", "мой отчёт", "мой <mark>отчёт</mark>"),
        ("default.conf", "open default.conf", "open <mark>default</mark>.<mark>conf</mark>"),
        ("/etc/ngi", "in /etc/nginx/sites", "in /<mark>etc</mark>/<mark>nginx</mark>/sites"),
        ("κόσμος", "καλημέρα κόσμος", "καλημέρα <mark>κόσμος</mark>"),
        ("kobenhavn", "København", "<mark>København</mark>"),
        ("Łódź ", "do Łodzi, Łódź", "do Łodzi, <mark>Łódź</mark>"),
        ("C++", "use C++ now", "use <mark>C++</mark> now"),
        ("c#", "the C# part", "the <mark>C#</mark> part"),
        ("العربية", "العَرَبِيَّة", "<mark>العَرَبِيَّة</mark>"),
        ("ABC", "ＡＢＣ会社", "<mark>ＡＢＣ</mark>会社"),
        ("データベース", "ﾃﾞｰﾀﾍﾞｰｽ接続", "<mark>データベース</mark>接続"),
        ("þór", "Þór", "<mark>Þór</mark>"),
        ("cooperate", "co\u00adoperate", "<mark>co\u00adoperate</mark>"),
        ("meeting", "m\u20ddeeting", "<mark>m\u20ddeeting</mark>"),
        ("كتاب", "این کتاب است", "این <mark>کتاب</mark> است"),
        ("🎉", "party🎉!", "party<mark>🎉</mark>!"),
        ("👍", "ok 👍🏽", "ok <mark>👍🏽</mark>"),
        ("🏽", "a 🏽", "a <mark>🏽</mark>"),
        ("™", "Parley™ app", "Parley<mark>™</mark> app"),
        ("parley", "the Parley™ app", "the <mark>Parley</mark>™ app"),
        ("↔️", "a↔b ↔️", "a<mark>↔</mark>b <mark>↔️</mark>"),
        ("Ⓜ️", "Ⓜ️etro", "<mark>Ⓜ️</mark>etro"),
        ("1️⃣", "Option 1️⃣", "Option <mark>1️⃣</mark>"),
        ("#️⃣", "Key #️⃣ or *️⃣", "Key <mark>#️⃣</mark> or *️⃣"),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏴", "<mark>🏴󠁧󠁢󠁥󠁮󠁧󠁿</mark> 🏴"),
        ("xy", "a x\u200ey x\u034fy", "a <mark>x\u200ey</mark> <mark>x\u034fy</mark>"),
        ("xy", "a \u2068xy\u2069 b", "a \u2068<mark>xy\u2069</mark> b"),
        ("葛城", "奈良県葛\U000e0100城市", "奈良県<mark>葛\U000e0100城</mark>市"),
        ("ﷺ", "محمدﷺ", "محمد<mark>ﷺ</mark>"),
        ("3", "بند ৩ และ ๓", "بند <mark>৩</mark> และ <mark>๓</mark>"),
        ("گل", "د ګل", "د <mark>ګل</mark>"),
        ("ﬁnal", "the final fi", "the <mark>final</mark> fi"),
        ("final", "the ﬁnal", "the <mark>ﬁnal</mark>"),
        ("v2.10", "is v2.10.3", "is v<mark>2</mark>.<mark>10</mark>.3"),
        ("happy ", "such happiness, happens", "such <mark>happiness</mark>, happens"),
        ("possible ", "a possibility", "a <mark>possibility</mark>"),
        ("used ", "us, users, using", "us, users, <mark>using</mark>"),
        ("argue ", "argument, arguing", "argument, <mark>arguing</mark>"),
        (
            "script",
            "<script>alert('x') & \"y\"</script>",
            "&lt;<mark>script</mark>&gt;alert(&#39;x&#39;) &amp; &quot;y&quot;&lt;/<mark>script</mark>&gt;",
        ),
        ("amp", "&amp; amp", "&amp;<mark>amp</mark>; <mark>amp</mark>"),
        ("mark", "<mark>\u0001mark\u0002", "&lt;<mark>mark</mark>&gt;<mark>mark</mark>"),
        ("b", "a\n\n  b\tc", "a <mark>b</mark> c"),
        ("-a", "b", "b"),
        ("needle", f"needle {LONG}", f"<mark>needle</mark> {LONG[:231]}…"),
    ],
)
def test_snippet_marks_the_hits(app: Connection, search: str, content: str, expected: str) -> None:
    assert snippet(app, search, content) == expected


def test_snippet_of_a_long_text_is_around_the_first_hit(app: Connection) -> None:
    shown = snippet(app, "needle", LONG + "a needle in " + LONG)
    assert re.fullmatch(r"…[a-z ]{30,120}<mark>needle</mark>[a-z ]{90,200}…", shown)
    assert not re.search(r"…[^ot]|[^eo]…", shown)  # whole words


@pytest.mark.parametrize("filling", ["ok ", "é ", "上", "m\u20dde ", "aB ", "\u0344", "ﷺ ", "🎉", "\n", "us users "])
@pytest.mark.parametrize(
    ("search", "hit", "marked"),
    [
        ('"ok done"', "ok done", "<mark>ok</mark> <mark>done</mark>"),
        ("reunion", "une réunion", "<mark>réunion</mark>"),
        ("会议室", "在会议室里", "<mark>会议室</mark>"),
        ("getname", "user.getName()", "<mark>getName</mark>"),
        ("meetings ", "a meeting", "<mark>meeting</mark>"),
    ],
)
def test_snippet_shows_the_first_hit_at_any_position(
    app: Connection, filling: str, search: str, hit: str, marked: str
) -> None:
    for length in (200, 2_900, 32_000):
        content = f"{filling * (length // len(filling))} {hit} {filling * 100}"[:32_768]
        assert marked in snippet(app, search, content, is_within_budget=False)


def test_hits_that_need_normalization_are_marked_within_the_budget(app: Connection) -> None:
    content = f"{LONG} ﾃﾞｰﾀ"
    assert "<mark>データ</mark>" in snippet(app, "データ", content)
    assert snippet(app, "データ", content, is_within_budget=False).startswith("one two three")


def test_words_with_another_stem_are_skipped_within_the_budget(app: Connection) -> None:
    content = f"{'users ' * 100} using it {'users ' * 100}"
    assert "<mark>using</mark>" in snippet(app, "used ", content)
    several = f"{('users ' + 'x ' * 500) * 3} using it"
    assert "<mark>" not in snippet(app, "used ", several, is_within_budget=False)


@given(search=st.text("ab<&'\"-上é \u0001", max_size=20), content=st.text("abc<&'\"上海é.\u0001\u0003 ", min_size=1))
def test_snippet_has_only_escaped_text_and_marks(
    postgres: Postgres, shared_database: str, search: str, content: str
) -> None:
    with connect_rolled_back(postgres.url(shared_database, "app", "app")) as connection:
        shown = snippet(connection, search, content)
    plain = re.sub("</?mark>", "", shown)
    assert not re.search(r"[<>'\"\u0001\u0002]|&(?!amp;|lt;|gt;|quot;|#39;)", plain)
    assert re.fullmatch("([^<]|<mark>[^<]+</mark>)*", shown)
    kept = re.sub(r"\s+", " ", re.sub("[\u0001\u0002]", "", content))
    assert html.unescape(plain) == unicodedata.normalize("NFC", kept)


@pytest.mark.parametrize("repeated", ["a_", "a-b_", "Ab9_", "aB", "上", "上a", "é", "a'", "ab ", "a b", "ß", "サ"])
def test_no_snippet_is_slow(app: Connection, repeated: str) -> None:
    content = (repeated * 20_000)[:32_767] + "z"
    if repeated == "ab ":
        content = " ".join(f"the{a}{b}{c}" for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyz0123" * 5)
    app.execute("set local statement_timeout = '2s'")
    for search in (repeated, "z", repeated * 100):
        snippet(app, search[:1000], content)
