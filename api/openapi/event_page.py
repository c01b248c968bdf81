"""The page on real-time events: the description of each in the models, and the schema of its data in the document."""

import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

from api.openapi.document import Json, example_of, resolved
from api.openapi.models import EVENTS, Event

PAGE = Path(__file__).parent / "static" / "events.html"


def events_page(schemas: Json) -> str:
    """The page as HTML; `schemas` are the document's."""
    sections = "".join(section(event, schemas) for event in EVENTS)
    return PAGE.read_text(encoding="utf-8").replace("{events}", sections)


def section(event: Event, schemas: Json) -> str:
    """What there is to say of one event."""
    name = event.payload.__name__
    example = json.dumps(example_of(schemas[name], schemas), indent=2, ensure_ascii=False)
    channels = " and ".join(f"<code>{escape(channel)}</code>" for channel in event.channels)
    rows = "\n".join(f"<tr><td>{'</td><td>'.join(cells)}</td></tr>" for cells in fields(schemas[name], schemas))
    return f"""
<h3 id="{event.name}"><code>{event.name}</code></h3>
<p>{with_code(event.tells)} On {channels}.</p>
<table>
<tr><th>Data</th><th>Type</th><th>What it is</th></tr>
{rows}
</table>
<pre><code>{escape(example, quote=False)}</code></pre>
<p>In <code>openapi.json</code>: <code>#/components/schemas/{name}</code>.</p>
"""


def fields(schema: Json, schemas: Json, path: str = "", presence: str = "") -> Iterator[tuple[str, str, str]]:
    """A row for what is described, and one for each field in it: its path, type and description."""
    described = resolved(schema, schemas)
    name = f"<code>{escape(path)}</code>" if path else "itself"
    yield name, type_of(described) + presence, with_code(described["description"])
    required = described.get("required", [])
    for field, inner in described.get("properties", {}).items():
        yield from fields(inner, schemas, f"{path}.{field}".lstrip("."), "" if field in required else ", optional")


def type_of(schema: Json) -> str:
    """A type in a few words."""
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    words = " | ".join(map(json.dumps, choices)) or schema["type"]
    return escape(f"{words}, {schema['format']}" if "format" in schema else words, quote=False)


def with_code(text: str) -> str:
    """Text in which code is between backticks."""
    return re.sub("`(.+?)`", r"<code>\1</code>", escape(text, quote=False))
