"""Writes CONFIGURATION.md from the descriptions, limits and defaults that edge/config.py itself carries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge.config import Config
from edge.contract.names import WHOLE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).resolve().parent.parent / "CONFIGURATION.md"
INTRODUCTION = """# Configuration

Generated from `edge/config.py` by `make docs`.

A device reads one TOML file. It is validated as a whole before anything starts: a value out of range or an unknown key
ends with exit code 3 and one line that names it (for an unknown key, the nearest known one too).
`edge-inspect check --config device.toml` tries a file without starting. Relative paths count from the file's folder.

The least that a file needs:

```toml
bundle = "my-bundle"

[camera]
kind = "picamera2"
```

One with a folder for a camera, a broker that asks for a login over TLS, and three of five frames to agree:

```toml
bundle = "my-bundle.zip"

[device]
site = "hall-2"
id = "lathe-7"

[camera]
kind = "folder"
path = "pictures"

[[regions]]
name = "left"
width = 0.5

[[regions]]
name = "right"
x = 0.5
width = 0.5

[decision]
votes = 3
window = 5

[mqtt]
host = "broker.example"
port = 8883
tls = true
username = "lathe-7"
password_file = "mqtt-password"
```
"""
HEADER = "| key | type | default | meaning |\n|---|---|---|---|"


def page() -> str:
    """Return the whole page."""
    schema = msgspec.json.schema(Config, schema_hook=lambda _: {"type": "string", "format": "path"})
    return "\n".join([INTRODUCTION, *_sections(schema["$defs"])])


def _sections(kinds: dict[str, Any]) -> Iterator[str]:
    whole = kinds["Config"]
    yield from _section("The top of the file", "", whole, _plain(whole, kinds))
    for name, field in whole["properties"].items():
        if "discriminator" in field:
            yield from _alternatives(name, field["discriminator"]["mapping"], kinds)
        elif (inner := _target(field.get("items", {}), kinds)) is not None:
            yield from _section(f"`[[{name}]]`", inner["description"], inner, inner["properties"])
        elif (inner := _target(field, kinds)) is not None:
            yield from _section(f"`[{name}]`", inner["description"], inner, inner["properties"])


def _alternatives(name: str, mapping: dict[str, str], kinds: dict[str, Any]) -> Iterator[str]:
    """Describe a table with a `kind`: what all have in common first, then each kind's own keys."""
    options = {kind: kinds[reference.rpartition("/")[2]] for kind, reference in mapping.items()}
    tables = [option["properties"] for option in options.values()]
    common = {key: field for key, field in tables[0].items() if all(table.get(key) == field for table in tables)}
    choices = ", ".join(f'`"{kind}"`' for kind in options)
    text = f"`kind` is required: one of {choices}."
    yield from _section(f"`[{name}]`, every kind", text, next(iter(options.values())), common)
    for kind, option in options.items():
        own = {key: field for key, field in option["properties"].items() if key not in {*common, "kind"}}
        yield from _section(f'`[{name}]`, `kind = "{kind}"`', option["description"], option, own)


def _section(title: str, text: str, owner: dict[str, Any], fields: dict[str, Any]) -> Iterator[str]:
    yield f"## {title}\n"
    if text:
        yield text.replace("<", r"\<") + "\n"
    yield HEADER
    for key, field in fields.items():
        default = "required" if key in owner["required"] else _default(field)
        meaning = field["description"].replace("|", "\\|")
        yield f"| `{key}` | {_type(field)} | {default} | {meaning} |"
    yield ""


def _plain(struct: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any]:
    return {
        key: field
        for key, field in struct["properties"].items()
        if "discriminator" not in field and _target(field, kinds) is None and "$ref" not in field.get("items", {})
    }


def _target(field: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any] | None:
    reference = field.get("$ref")
    return None if reference is None else kinds[reference.rpartition("/")[2]]


def _default(field: dict[str, Any]) -> str:
    value = field["default"]
    if value is None:
        return "left out"
    return f"`{json.dumps(value)}`"


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    if "anyOf" in field:
        return _type(next(option for option in field["anyOf"] if option.get("type") != "null"))
    if "prefixItems" in field:
        return f"list of {len(field['prefixItems'])} numbers"
    words = {
        "number": "number",
        "integer": "whole number",
        "boolean": "true or false",
        "array": "list of texts",
        "object": "table",
    }
    word: str = words.get(field["type"]) or field.get("format", "text")
    return word + _limits(field)


def _limits(field: dict[str, Any]) -> str:
    low = f"≥ {field['minimum']}" if "minimum" in field else ""
    low = f"> {field['exclusiveMinimum']}" if "exclusiveMinimum" in field else low
    high = f"≤ {field['maximum']}" if "maximum" in field else ""
    high = f"< {field['exclusiveMaximum']}" if "exclusiveMaximum" in field else high
    name = "letters, digits, _ and -" if field.get("pattern") == WHOLE_NAME else ""
    limits = ", ".join(limit for limit in (low, high, name) if limit)
    return f", {limits}" if limits else ""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
