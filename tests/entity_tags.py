"""A reference parser for If-Match and If-None-Match by RFC 9110, and headers that are likely to break a parser.

It parses one character at a time; Parley matches regular expressions, one in Python and one in SQL.
"""

from hypothesis import strategies as st

TAG = "5QC6xxlgr66DAp2LACdt"  # Tests replace it in all headers with a real tag without commas and quotes.
ETAG = f'"{TAG}"'


def parse_list(header: str) -> set[str]:
    """Return the entity tags in a list, weak ones with their prefix `W/`; none if the list is malformed."""
    tags, position, needs_comma = set(), 0, False
    while position < len(header):
        character = header[position]
        if character in " \t,":
            needs_comma = needs_comma and character != ","
            position += 1
            continue
        start = position + 2 if header.startswith("W/", position) else position
        end = header.find('"', start + 1)
        is_tag = header.startswith('"', start) and end > 0
        if needs_comma or not is_tag or any(c <= " " or c == "\x7f" for c in header[start + 1 : end]):
            return set()
        tags.add(header[position : end + 1])
        position, needs_comma = end + 1, True
    return tags


def is_match(etag: str, header: str, *, is_strong: bool = False) -> bool:
    """Return whether the header matches the entity tag, by the strong or the weak comparison."""
    return header == "*" or etag in parse_list(header) or (not is_strong and f"W/{etag}" in parse_list(header))


PIECES = [
    ETAG,
    f"W/{ETAG}",
    f"w/{ETAG}",
    f"W {ETAG}",
    '""',
    '"',
    "W/",
    "W",
    "*",
    ",",
    ", ",
    " ",
    "\t",
    "\n",
    "\r\n",
    "x",
]
PIECES += ['"x"', '"a,b"', '"W/"', '"*"', '"a b"', '"\x7f"', '"\xe9"', "\xa0", "\\", ETAG[1:], ETAG[:-1], TAG]
ELEMENTS = st.sampled_from(["", ETAG, f"W/{ETAG}", '"x"', '"a,b"', 'W/"W/"', '""', '"\\"', '"\xe9"'])
SEPARATORS = st.sampled_from([",", ", ", " ,", "\t,\t", ",,", " , ,"])
LISTS = st.lists(st.tuples(ELEMENTS, SEPARATORS)).map(lambda pairs: "".join(map("".join, pairs)))
HEADERS = st.lists(st.sampled_from(PIECES)).map("".join) | LISTS | st.tuples(LISTS, ELEMENTS).map("".join)

MALFORMED = [
    f"'{ETAG}'", f"{ETAG}x", f"x{ETAG}", f'"a"{ETAG}"b"', f'"a" {ETAG}', f"{ETAG} {ETAG}", f"{ETAG};{ETAG}",
    f"{ETAG}, x", f'{ETAG}, "', f'"a b", {ETAG}', f"{ETAG}, *", f"*, {ETAG}", "*, *", "**", "*,", f"w/{ETAG}",
    f"W{ETAG}", f"W/ {ETAG}", f"W//{ETAG}", f"W/W/{ETAG}", f'"a"W/{ETAG}', f'"a" W/{ETAG} , {ETAG}', TAG, ETAG[1:],
    ETAG[:-1],
]  # fmt: skip
OTHER = ["", ",", '""', '"x"', f'W/"{TAG}x"', f'"x{TAG}"', f'"W/","W/{TAG}"']
WEAK = [f"W/{ETAG}", f'"x", W/{ETAG}', f"W/{ETAG},W/{ETAG}", f'"W/",W/{ETAG}']
STRONG = [
    ETAG, f'"x", {ETAG}', f'{ETAG},"x"', f"W/{ETAG}, {ETAG}", f"{ETAG},W/{ETAG}", f",, ,{ETAG}\t, ,", f'"a,b",{ETAG}',
    f'"W/",{ETAG}', f'W/"\\",{ETAG}', f'"\xe9", {ETAG}', f'"{TAG},", {ETAG}',
]  # fmt: skip
