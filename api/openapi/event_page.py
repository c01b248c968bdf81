"""Render the page on real-time events, from the facts in models/events.py and the schemas of the document."""

import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

from api.openapi.models.events import (
    CHANNELS,
    CHAT_EVENT_ONLY,
    EVENTS,
    MAX_CHANNEL_USER_ID_BYTES,
    MAX_EVENT_BYTES,
    Event,
)
from api.openapi.schemas import Json, build_example, resolve

TEMPLATE = Path(__file__).parent / "static" / "events.html"


def render_event_page(schemas: Json) -> str:
    """Return the page as HTML; `schemas` are the components of the document."""
    page = TEMPLATE.read_text(encoding="utf-8")
    for placeholder, content in {
        "{channels}": render_channels(),
        "{chat_event_only}": render_text(", ".join(f"`{name}`" for name in CHAT_EVENT_ONLY)),
        "{events}": "".join(render_event(event, schemas) for event in EVENTS),
        "{max_event_bytes}": f"{MAX_EVENT_BYTES:,}",
        "{max_channel_user_id_bytes}": str(MAX_CHANNEL_USER_ID_BYTES),
    }.items():
        page = page.replace(placeholder, content)
    return page


def render_channels() -> str:
    """Return a table row for each kind of channel."""
    return "\n".join(
        render_row(
            f"<code>{escape(channel.name)}</code>", render_text(channel.subscribers), render_text(channel.content)
        )
        for channel in CHANNELS
    )


def render_event(event: Event, schemas: Json) -> str:
    """Return the section on an event: its channels, its fields and an example."""
    name = event.payload.__name__
    example = json.dumps(build_example(schemas[name], schemas), indent=2, ensure_ascii=False)
    channels = " and ".join(f"<code>{escape(channel.name)}</code>" for channel in event.channels)
    rows = "\n".join(render_row(*cells) for cells in list_fields(schemas[name], schemas))
    return f"""
<h3 id="{event.name}"><code>{event.name}</code></h3>
<p>{render_text(event.description)} Published on {channels}.</p>
<table>
<tr><th>Data</th><th>Type</th><th>Description</th></tr>
{rows}
</table>
<pre><code>{escape(example, quote=False)}</code></pre>
<p>Schema in <code>openapi.json</code>: <code>#/components/schemas/{name}</code>.</p>
"""


def list_fields(schema: Json, schemas: Json, path: str = "", suffix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the path, type and description of the data and, recursively, of each of its fields, as HTML."""
    resolved = resolve(schema, schemas)
    name = f"<code>{escape(path)}</code>" if path else "itself"
    # A nullable field has the description of its type.
    description = resolved.get("description") or resolve(resolved["anyOf"][0], schemas)["description"]
    yield name, format_type(resolved, schemas) + suffix, render_text(description)
    required = resolved.get("required", [])
    for field, field_schema in resolved.get("properties", {}).items():
        field_path = f"{path}.{field}".lstrip(".")
        yield from list_fields(field_schema, schemas, field_path, "" if field in required else ", optional")


def format_type(schema: Json, schemas: Json) -> str:
    """Return a short name of a type, as HTML."""
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(format_type(resolve(option, schemas), schemas) for option in schema["anyOf"]))
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    name = " | ".join(map(json.dumps, values)) or schema["type"]
    return escape(f"{name}, {schema['format']}" if "format" in schema else name, quote=False)


def render_row(*cells: str) -> str:
    """Return a table row of cells that are HTML already."""
    return f"<tr><td>{'</td><td>'.join(cells)}</td></tr>"


def render_text(text: str) -> str:
    """Return a text as HTML, with code between backticks."""
    return re.sub("`(.+?)`", r"<code>\1</code>", escape(text, quote=False))
