"""The differences between two catalogs, in the order in which to fix them, and the lines that fix each."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from api.admin.catalog import Catalog
from api.admin.drift_remarks import OVERRIDABLE, IndexUsage

APPLY = "$ yoyo apply --batch"
APPLY_REPEATABLE = "$ psql \"$DATABASE_URL\" -c 'delete from parley.repeatable_migrations' && yoyo apply --batch"
REPEATABLE = ("function ", "view ")  # keys of objects that repeatable migrations create
# Keys whose statement also corrects an existing value.
IDEMPOTENT = ("default of ", "option ", "storage of ")
# Keys of objects that others may depend on, in the order in which they can be dropped.
DEPENDED_ON = ("column ", "function ", "table ", "sequence ", "text ", "type ")
# The lines that refill a table of derived rows. sql/README.md documents the first two.
REFILL = {
    "parley.message_words": (
        "insert into parley.message_words (chat_id, id, type, tsv, words)\n"
        "select m.chat_id, m.id, m.type, d.tsv, d.words from parley.messages m, rules.search_document(m.content) d\n"
        "on conflict do nothing;"
    ),
    "parley.message_blocks": "select parley.recount_chat(id) from parley.chats;",
    "parley.letter_variants": APPLY_REPEATABLE,
}


@dataclass(frozen=True)
class Finding:
    """A difference, and the lines that fix it: SQL, or after `$ ` shell."""

    description: str
    fix: str


def find_drift(expected: Catalog, live: Catalog, usage: dict[str, IndexUsage]) -> Iterator[Finding]:
    """Yield all differences. Extra objects that differing ones may depend on come last."""
    extra = find_extra(expected, live)
    yield from (drop_extra(key, live, usage) for key in extra if not key.startswith(DEPENDED_ON))
    missing = [key for key in expected.create if key not in live.create]
    missing_repeatable = [get_name(key) for key in missing if key.startswith(REPEATABLE)]
    for key, statement in expected.create.items():
        if OVERRIDABLE.match(key) or any(is_property(key, name) for name in missing_repeatable):
            continue  # repeatable migrations also grant what they create
        if key not in live.create:
            yield Finding(f"missing: {key}", fix_missing(key, statement))
        elif is_different(live.create[key], statement) and not (
            expected.major != live.major and key.startswith("view ")
        ):
            yield Finding(f"differs: {key}", fix_difference(key, expected, live))
    for name, fix in REFILL.items():
        if any(re.fullmatch(rf"table {re.escape(name)}(_\d+)?", key) for key in missing):
            yield Finding(f"to be refilled: {name}", fix)
    for kind in DEPENDED_ON:
        yield from (drop_extra(key, live, usage) for key in extra if key.startswith(kind))


def find_extra(expected: Catalog, live: Catalog) -> list[str]:
    """Return the keys that are only in the database, dependents first, without properties of other extra objects."""
    keys = [key for key in reversed(live.create) if key not in expected.create and not OVERRIDABLE.match(key)]
    keys = [key for key in keys if not is_of_dba_partition(key, expected, live)]
    objects = [get_name(key) for key in keys if key.startswith(("table ", "column ", *REPEATABLE))]
    return [key for key in keys if not any(is_property(key, name) for name in objects)]


def drop_extra(key: str, live: Catalog, usage: dict[str, IndexUsage]) -> Finding:
    """Return the finding of an extra object; that of an index with its size and number of scans."""
    used = f" ({usage[key].size}, {usage[key].scans} scans)" if key in usage else ""
    return Finding(f"extra: {key}{used}", live.drop[key])


def fix_missing(key: str, statement: str) -> str:
    """Return the lines that create a missing object. A constraint is validated apart, without blocking writes."""
    if key.startswith(REPEATABLE):
        return APPLY_REPEATABLE
    if match := re.fullmatch(
        r"(alter table \S+) add constraint (\S+) (?:CHECK|FOREIGN KEY) .*(?<! NOT VALID);", statement
    ):
        return f"{statement.removesuffix(';')} not valid;\n{match[1]} validate constraint {match[2]};"
    return statement


def fix_difference(key: str, expected: Catalog, live: Catalog) -> str:
    """Return the lines that turn an existing object into the expected one."""
    statement = expected.create[key]
    if key.startswith("view "):
        return f"$ psql \"$DATABASE_URL\" -c '{live.drop[key]}'\n{APPLY_REPEATABLE}"
    if key.startswith("function "):
        return APPLY_REPEATABLE
    if key.startswith(IDEMPOTENT):
        return statement
    if key.startswith("table "):
        return "-- by hand, in a migration"
    if key.startswith("column ") and " generated always as (" not in statement + live.create[key]:
        return re.sub(r" add column if not exists (\S+) (.*);", r" alter column \1 type \2 using \1::\2;", statement)
    lines = [live.drop[key], fix_missing(key, statement)]
    if key.startswith("column "):
        lines += [other for about, other in expected.create.items() if is_property(about, get_name(key))]
    return "\n".join(lines)


def get_name(key: str) -> str:
    """Return the name of the object in its key."""
    return key.split(" ", 1)[1]


def is_property(key: str, name: str) -> bool:
    """Return whether a key is that of a property of this object, rather than of itself or of a function on its rows."""
    return (
        not key.startswith(REPEATABLE)
        and get_name(key) != name
        and re.search(rf"(?<![\w.]){re.escape(name)}(?![\w(])", key) is not None
    )


def is_different(statement: str, expected: str) -> bool:
    """Return whether two statements create different objects, regardless of `concurrently`."""
    # Partitioned tables forbid `concurrently`.
    concurrently = "INDEX CONCURRENTLY "
    return statement.replace(concurrently, "INDEX ", 1) != expected.replace(concurrently, "INDEX ", 1)


def is_of_dba_partition(key: str, expected: Catalog, live: Catalog) -> bool:
    """Return whether a key is that of a DBA's partition of an expected table, or of its row-level security."""
    table = "table " + key.removeprefix("table ").removeprefix("alter table ").removesuffix(
        " enable row level security"
    )
    match = re.match(r"create table .+ partition of (.+?) (?:FOR VALUES|DEFAULT)", live.create.get(table, ""))
    return match is not None and f"table {match[1]}" in expected.create
