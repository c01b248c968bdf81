"""Benchmark of messages of the maximum length, by script and combining class: `python -m tests.bench.long_messages`.

Each text has 32,768 characters and ends with a word to search for. The benchmark measures sending it, and searching for
the word in a chat with one such message. For the patterns, the random texts and the texts that are the most expensive
to send, it also measures a page of 100 hits, and for random texts a page of 100 hits of a phrase. Prints medians in
milliseconds, and their ratios to an English text of the same length, the most expensive first.
"""
# ruff: noqa: S311 (not for secrets)

import random
import statistics
import sys
import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator

import psycopg

from api.dev.postgres import Postgres
from tests.database import Connection, call, new_chat
from tests.servers import migrate, open_directory
from tests.tokens import new_user

LENGTH = 32_768
WORD = "needle"
ROUNDS = 3
SHOWN = 15  # of the most expensive texts
ORDINARY = "the quick brown fox jumps over the lazy dogs near the river bank "
SETTINGS = {"fsync": "off", "autovacuum": "off", "jit": "off", "shared_buffers": "512MB"}
# Each is expensive for one step of indexing a text or of marking hits in it.
PATTERNS = (
    "a ", "aB", "ABa", "a_", "a'b-", "v1.", "c++ ", "C#", "上a", "上 ", "é ", "ﷺ", "ﷺ ", "㌖", "㌖a", "ﬃ ", "ᾂ", "🎉",
    "🇩🇪", "™a", "™ ", "👍🏽", "🏽", "1️⃣", "x\U000e0061", "㍿", "৩", "৩ a", "m\u20ddeeting ", "\u200d", "\u00ad", "\t",
    "\n", "<a href=", "a@b.", "a/b:", "ok ", "users ", "\u0344\u0334",
)  # fmt: skip

HAN, EXTENSION_B, HANGUL, EMOJI = (0x4E00, 0x9FFF), (0x20000, 0x29FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1F3F0)
# Random characters of these ranges in turn, so that nearly every pair of adjacent ones is a distinct lexeme.
RANDOM = {
    "two bytes": [(0xA1, 0x7FF)],
    "all planes to 2": [(1, 0x2FFFF)],
    "all planes": [(1, 0x10FFFF)],
    "Han": [HAN],
    "extension B": [EXTENSION_B],
    "Hangul": [HANGUL],
    "emoji and Han": [EMOJI, HAN],
    "plane 2 and Latin to Greek": [(0x20000, 0x2FFFF), (0xA1, 0x1FFF)],
}


def random_texts() -> Iterator[tuple[str, str]]:
    """Yield names and texts of random characters, some after a compound, which doubles the indexed text."""
    rng = random.Random(1)
    characters = {
        name: [[chr(c) for c in range(first, last + 1) if not 0xD800 <= c <= 0xDFFF] for first, last in ranges]
        for name, ranges in RANDOM.items()
    }
    triples = [chr(c) for c in range(0xA0, 0x30000) if len(unicodedata.normalize("NFKD", chr(c))) == 3]
    characters |= {"three by NFKD": [triples], "three by NFKD and extension B": [triples, *characters["extension B"]]}
    for name, ranges in characters.items():
        text = "".join(rng.choice(ranges[n % len(ranges)]) for n in range(LENGTH))
        yield f"random {name}", text
        yield f"random aB, {name}", f"aB{text}"
        yield f"random aB, {name}, joined", f"aB{text[:16_000]}_{text[16_000:]}"
        yield f"random aB and {name}", "".join(f"aB{character}" for character in text)


def repeated_texts() -> Iterator[tuple[str, str]]:
    """Yield names and texts to repeat: letters of a script, marks of a combining class, a pattern, or random."""
    scripts: defaultdict[str, list[str]] = defaultdict(list)
    marks: dict[int, str] = {}
    for character in map(chr, range(0x20, sys.maxunicode)):
        if unicodedata.category(character)[0] in "LMNPS":
            scripts[unicodedata.name(character, "NONE").split()[0]].append(character)
        marks.setdefault(unicodedata.combining(character), character)
    yield from ((f"script {name}", "".join(characters)) for name, characters in scripts.items() if len(characters) > 9)
    yield from ((f"class {ccc}", f"{mark}\u0334{mark}\u0345") for ccc, mark in marks.items() if ccc)
    yield from ((f"pattern {pattern!a}", pattern) for pattern in PATTERNS)
    yield from random_texts()


def full_length(repeated: str) -> str:
    """Return a text of the maximum length that ends with the word."""
    room = LENGTH - len(WORD) - 1
    return f"{(repeated * (room // len(repeated) + 1))[:room]} {WORD}"


def milliseconds(run: Callable[[], object]) -> float:
    """Return the median of some runs in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def measure(connection: Connection, repeated: str) -> tuple[float, float]:
    """Return the milliseconds of sending a text and of searching in it."""
    user, content = new_user(), full_length(repeated)
    with connection.transaction(force_rollback=True):
        chat, other = new_chat(connection, user), new_chat(connection, user)
        send = milliseconds(lambda: call(connection, user, "send_message", other, {"content": content}))
        call(connection, user, "send_message", chat, {"content": content})
        return send, milliseconds(lambda: call(connection, user, "list_messages", chat, search=WORD))


def measure_page(connection: Connection, repeated: str, search: str = WORD) -> float:
    """Return the milliseconds of a page of 100 hits of a text."""
    user, content = new_user(), full_length(repeated)
    with connection.transaction(force_rollback=True):
        chat = new_chat(connection, user)
        for _ in range(100):
            call(connection, user, "send_message", chat, {"content": content})
        return milliseconds(lambda: call(connection, user, "search", search=search, limit="100"))


def print_worst(step: str, results: dict[str, float], ordinary: float) -> None:
    """Print the texts that take the longest."""
    print(f"\n{step}: an ordinary text {ordinary:.1f} ms; the most expensive of {len(results)} texts:")
    for name, measured in sorted(results.items(), key=lambda item: -item[1])[:SHOWN]:
        print(f"{name:40} {measured:8.1f} ms {measured / ordinary:6.1f}", flush=True)


def main() -> None:
    """Measure and print."""
    with open_directory() as directory, Postgres(directory, settings=SETTINGS) as server:
        migrate(server)
        with psycopg.connect(server.url("parley", "app", "app"), autocommit=True) as connection:
            repeated = dict(repeated_texts())
            results = {name: measure(connection, text) for name, text in repeated.items()}
            send, search = measure(connection, ORDINARY)
            sent = {name: result[0] for name, result in results.items()}
            print_worst("send", sent, send)
            print_worst("search", {name: result[1] for name, result in results.items()}, search)
            paged = set(sorted(sent, key=lambda name: -sent[name])[:SHOWN]) | {
                n for n in sent if n.startswith(("pattern", "random"))
            }
            pages = {name: measure_page(connection, repeated[name]) for name in paged}
            print_worst("page of 100 hits", pages, measure_page(connection, ORDINARY))
            phrases = {
                name: measure_page(connection, text, f'"{text[5000:5010]}"')
                for name, text in repeated.items()
                if name.startswith("random")
            }
            print_worst("page of 100 hits of a phrase", phrases, measure_page(connection, ORDINARY, '"brown fox"'))


if __name__ == "__main__":
    main()
