"""What people type into the search box, and what they must and must not find."""
# ruff: noqa: RUF001 (other scripts are what this is about)

from collections.abc import Iterator

import pytest

from api.dev.postgres import Postgres
from tests.support import Connection, call, new_chat, new_user, rolled_back

MESSAGES = {
    "deploy": "We deploy on Friday, right after the stand-up.",
    "deploying": "Deploying to staging now",
    "deployment": "The deployment pipeline is green again",
    "employ": "They want to employ two more people",
    "meeting": "Meeting moved to 10:30, same room",
    "meet": "Can we meet at the café on Main Street?",
    "resume": "Here is my résumé, please have a look",
    "strasse": "Das Büro ist in der Goethestraße 5",
    "grosse": "Welche Größe hat das Display?",
    "naive": "That is a naïve approach, I'm afraid",
    "oeuvre": "Son œuvre complète est à l'Opéra, à côté de l’hôtel",
    "smorgasbord": "Smørrebrød in København, Łódź next week",
    "istanbul": "İstanbul'da görüşürüz",
    "get_user": "Calling user.getName() on null",
    "get_name_py": "def get_name(self): return self._name",
    "get_name_kebab": "use the get-name helper",
    "rename": "Please rename the file",
    "http_server": "class HTTPServerError extends Error {}",
    "max_retries": "Set MAX_RETRIES=5 and connectTimeoutMs to 200",
    "nginx": "It's in /etc/nginx/sites-enabled/default.conf",
    "windows": r"C:\Users\ada\Documents\report_final.docx",
    "url": "See https://docs.example.com/api/v2/auth?token=abc#errors",
    "email": "Write to ada.lovelace@example.org",
    "version": "Upgrade to v2.10.3 fixes it",
    "version_other": "We are still on 2.1.0",
    "node": "Node.js 20 and TypeScript 5.4",
    "ora": "ORA-00942: table or view does not exist",
    "econn": "connect ECONNREFUSED 127.0.0.1:5432",
    "hex": "Stop code 0xC000021A after the update",
    "status": "It answers 404 for /users/4041",
    "ts": "error TS2345: Argument of type 'string' is not assignable",
    "cpp": "The C++ part is fast, the C# part is not",
    "ceo": "The CEO said C is fine",
    "e_mail": "Did you get my e-mail?",
    "wifi": "The Wi-Fi password is on the fridge",
    "dont": "I don't think so",
    "github": "Open a pull request on GitHub",
    "home": "我家在上海东边",
    "beijing": "他在北京上班，不在海上",
    "iphone_cn": "新的iPhone手机壳到了",
    "tokyo": "東京タワーで会いましょう",
    "kyoto": "京都に行きたい",
    "katakana": "ﾃﾞｰﾀﾍﾞｰｽ接続エラー",
    "next_ja": "Next.jsの使い方を教えて",
    "seoul": "내일 서울에서 만나요",
    "busan": "부산은 비가 와요",
    "thai": "ฉันรักภาษาไทย",
    "russian": "Отправил отчёт вчера вечером",
    "greek": "Η αναφορά είναι έτοιμη",
    "arabic": "مرحبًا بالعالم",
    "hindi": "नमस्ते दुनिया",
    "release": "The release candidate is ready",
    "candidate": "A good candidate, but release him from the contract",
    "not_or": "To be, or not to be, that is the question",
    "the": "The The was a band",
    "uuid": "Trace 4f9d2c1e-77aa-4b0e-9c3d-0123456789ab failed",
    "json": '{"userId": 42, "displayName": "Ada"}',
    "sql": "select * from user_accounts where id = 42",
    "hash": "commit deadbeefcafe breaks the build",
    "fullwidth": "ＡＢＣ会社の請求書",
    "user_card": "It is in src/components/UserCard.tsx today",
    "gmail": "Write to ada@GMail.com",
    "nginx_etc": "nginx is broken, etc.",
    "html": "The html page has no index",
    "docs": "The company docs have no example",
    "love": "我爱你",
    "case_ja": "新しいiPhoneケース",
    "thor": "Þór is here",
    "support": "The support desk is open",
    "it_support": "IT support is closed",
    "digits": "في ٢٠٢٤",
    "brand": "Brand™ new",
    "keycap": "Option 1️⃣ of two",
    "kto": "кто-то пришёл",
    "vocalised": "العَرَبِيَّة",
    "false_phrase": "getAge calls setAge at the end",
    "running": "The job has been running for hours; runs nightly",
}

# What is typed: what must be found, and what must not, by their names above.
QUERIES: dict[str, tuple[str, str]] = {
    # by stem, and as people type
    "deploy": ("deploy deploying deployment", "employ"),
    "deploying ": ("deploy deploying", "employ"),
    "deploys today": ("", "deploy employ"),
    "dep": ("deploy deploying deployment", "employ"),
    "deploym": ("deployment", "deploy deploying employ"),
    "deploying to stag": ("deploying", "deploy"),
    "meetings": ("meeting", "employ"),
    "run": ("running", "rename"),
    "runn": ("running", "rename"),
    "pull req": ("github", "rename"),
    # accents and letters
    "cafe": ("meet", "meeting"),
    "CAFÉ": ("meet", "meeting"),
    "resume": ("resume", ""),
    "goethestrasse": ("strasse", ""),
    "Goethestraße": ("strasse", ""),
    "grosse": ("grosse", "strasse"),
    "naive approach": ("naive", ""),
    "oeuvre": ("oeuvre", ""),
    "hotel": ("oeuvre", ""),
    "kobenhavn lodz": ("smorgasbord", ""),
    "istanbul": ("istanbul", ""),
    # identifiers
    "getName": ("get_user get_name_py get_name_kebab", "rename"),
    "get_name": ("get_user get_name_py get_name_kebab", "rename"),
    "getname": ("get_user get_name_py get_name_kebab", "rename"),
    "user.getName()": ("get_user", "get_name_py get_name_kebab"),
    "getN": ("get_user get_name_py get_name_kebab", "rename"),
    "httpserver": ("http_server", ""),
    "HTTPServerError": ("http_server", "econn"),
    "server error": ("http_server", "econn ts"),
    "max retries": ("max_retries", ""),
    "connect_timeout_ms": ("max_retries", "econn"),
    "displayname": ("json", "get_user"),
    "user accounts": ("sql", "json"),
    "user_accounts": ("sql", "json get_user"),
    # paths, addresses, versions, codes
    "/etc/nginx": ("nginx", ""),
    "nginx/sites-enabled": ("nginx", ""),
    "default.conf": ("nginx", ""),
    "report_final.docx": ("windows", ""),
    "docs.example.com": ("url", "email"),
    "api/v2/auth": ("url", ""),
    "ada.lovelace@example.org": ("email", "url json"),
    "2.10.3": ("version", "version_other"),
    "v2.10": ("version", "version_other"),
    "2.1": ("version_other", "version"),
    "node.js": ("node", "next_ja"),
    "ORA-00942": ("ora", ""),
    "ora00942": ("ora", ""),
    "ECONNREFUSED": ("econn", ""),
    "127.0.0.1": ("econn", ""),
    "0xc000021a": ("hex", ""),
    "404": ("status", "ora"),
    "4041": ("status", ""),
    "TS2345": ("ts", ""),
    "c++": ("cpp", "ceo"),
    "C#": ("cpp", "ceo"),
    "4f9d2c1e-77aa-4b0e-9c3d-0123456789ab": ("uuid", ""),
    "deadbeef": ("hash", ""),
    "/etc/ngin": ("nginx", "nginx_etc"),
    "index.html": ("", "html"),
    "docs.exam": ("url", "docs"),
    "src/components/usercard.tsx": ("user_card", ""),
    "src/components/UserCard.tsx": ("user_card", ""),
    "components/userca": ("user_card", ""),
    '"usercard.tsx today"': ("user_card", ""),
    "ada@gmail.com": ("gmail", "email"),
    '"getage setage"': ("", "false_phrase"),
    '"end getage"': ("", "false_phrase"),
    '"getage calls setage"': ("false_phrase", ""),
    # joined and apart
    "email": ("e_mail", ""),
    "e-mail": ("e_mail", ""),
    "wifi": ("wifi", ""),
    "wi-fi": ("wifi", ""),
    "dont": ("dont", ""),
    "don't": ("dont", ""),
    "don’t": ("dont", ""),
    "github": ("github", ""),
    # Chinese, Japanese, Korean, Thai, and mixed
    "上海": ("home", "beijing tokyo"),
    "上海东": ("home", "beijing"),
    "海上": ("beijing", "home"),
    "家": ("home", "beijing"),
    "iPhone手机": ("iphone_cn", ""),
    "手机壳": ("iphone_cn", ""),
    "東京": ("tokyo", "kyoto"),
    "京都": ("kyoto", "tokyo"),
    "データベース": ("katakana", ""),
    "nextjsの使い方": ("", ""),
    "Next.jsの使い方": ("next_ja", "node"),
    "서울": ("seoul", "busan"),
    "ภาษา": ("thai", ""),
    "ABC会社": ("fullwidth", ""),
    "家 ": ("home", "beijing love"),
    "家 上海": ("home", "beijing"),
    "上海 -家": ("", "home"),
    "我 爱": ("love", "home"),
    "你": ("love", "home"),
    "iphoneケース": ("case_ja", "iphone_cn"),
    "iPhoneケース": ("case_ja", "iphone_cn"),
    # other scripts
    "отчет": ("russian", ""),
    "αναφορα": ("greek", ""),
    "مرحبا": ("arabic", ""),
    "नमस्ते": ("hindi", ""),
    "þór": ("thor", ""),
    "thor": ("thor", ""),
    "2024": ("digits", ""),
    "brand": ("brand", ""),
    "option 1": ("keycap", ""),
    "ктото": ("kto", ""),
    "العربية": ("vocalised", ""),
    "IT support": ("it_support", "support"),
    "it support": ("it_support support", "github"),
    # operators
    '"release candidate"': ("release", "candidate"),
    "release candidate": ("release candidate", ""),
    '"candidate release"': ("", "release candidate"),
    '"release cand': ("release", "candidate"),
    "“release candidate”": ("release", "candidate"),
    "release -contract": ("release", "candidate"),
    "candidate -\"release candidate\"": ("candidate", "release"),
    "github or wifi": ("github wifi", "email"),
    "GitHub OR nginx": ("github nginx", "email"),
    '"to be or not to be"': ("not_or", "the"),
    "how to deploy": ("deploy", "employ"),
    "the": ("the release", "github"),
    "the the": ("the", "github"),
    "is the": ("release", "github"),
}  # fmt: skip


@pytest.fixture(scope="module")
def chat(postgres: Postgres, shared_database: str) -> Iterator[tuple[Connection, str, str]]:
    """A connection, a user and their chat with these messages."""
    with rolled_back(postgres.url(shared_database, "app", "app")) as connection:
        user = new_user()
        chat = new_chat(connection, user)
        for content in MESSAGES.values():
            call(connection, user, "send_message", chat, {"content": content})
        yield connection, user, chat


def names(answer: dict[str, list[dict[str, str]]]) -> set[str]:
    """What was found."""
    name_of = {content: name for name, content in MESSAGES.items()}
    return {name_of[message["content"]] for message in answer["messages"]}


@pytest.mark.parametrize("search", QUERIES)
def test_a_search_finds_what_is_meant(chat: tuple[Connection, str, str], search: str) -> None:
    connection, user, chat_id = chat
    must, must_not = (set(words.split()) for words in QUERIES[search])
    found = names(call(connection, user, "list_messages", chat_id, search=search))
    assert must <= found
    assert not must_not & found
    assert names(call(connection, user, "search", search=search)) == found
    assert names(call(connection, user, "search", search=search, sort="relevance")) == found
