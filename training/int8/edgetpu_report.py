"""What a bundle's files say of its compiled model: beside what was measured on the CPU, and apart from it."""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING, Any

from edge.contract.bundle import EDGE_TPU_MODEL
from edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from training.int8.edgetpu import Compiled

LOG = "model_edgetpu.log"
_JSON, _HTML = "report.json", "report.html"
_KEY = "edge_tpu"
_BEGIN, _END = "<!-- edge-tpu -->", "<!-- /edge-tpu -->"
_OLD = re.compile(rf"{_BEGIN}.*?{_END}\n?", re.DOTALL)
_NOTE = (
    "Compiled, not measured: every other figure of this report is the int8 model's on the CPU. The Edge TPU may round "
    "differently."
)


def added(files: Mapping[str, bytes], compiled: Compiled) -> dict[str, bytes]:
    """Return a bundle's files with the compiled model, its log, and both reports telling of it.

    A section of an earlier compilation is replaced; all else in the reports stays as it was. Raises BundleError for
    a report that is none.
    """
    facts = compiled.mapping.plain() | {"tries": compiled.tries, "note": _NOTE}
    return {
        **files,
        EDGE_TPU_MODEL: compiled.model,
        LOG: compiled.log.encode(),
        _JSON: _with_facts(files.get(_JSON, b"{}"), facts),
        _HTML: _with_section(files.get(_HTML, b""), _section(facts)),
    }


def _with_facts(raw: bytes, facts: dict[str, Any]) -> bytes:
    try:
        report = json.loads(raw) | {_KEY: facts}
        entries = ",\n".join(f" {json.dumps(name)}: {_value(value)}" for name, value in report.items())
    except (ValueError, TypeError, RecursionError) as error:
        raise BundleError(f"{_JSON} is no JSON object ({error}); rebuild the bundle with edge-train build") from error
    return f"{{\n{entries}\n}}\n".encode()


def _value(value: Any) -> str:
    """Encode with a line for each row of a table, of which there may be thousands."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in value) + "\n ]"
    return json.dumps(value, indent=1).replace("\n", "\n ")


def _with_section(raw: bytes, section: str) -> bytes:
    try:
        page = _OLD.sub("", raw.decode())
    except UnicodeDecodeError as error:
        raise BundleError(f"{_HTML} is not UTF-8 ({error}); rebuild the bundle with edge-train build") from error
    ends = [place for mark in ("</body>", "</html>") if (place := page.rfind(mark)) >= 0]
    place = min(ends, default=len(page))
    return f"{page[:place]}{section}{page[place:]}".encode()


def _section(facts: Mapping[str, Any]) -> str:
    head = "<tr><th>Operator</th><th>Count</th><th>Status</th></tr>"
    rows = "".join(
        f"<tr><th>{escape(row['operator'])}</th><td>{row['count']}</td><td>{escape(row['status'])}</td></tr>"
        for row in facts["mapping"]
    )
    memory = "".join(f", {escape(size)} {name.replace('_', ' ')}" for name, size in facts["memory"].items())
    return (
        f"{_BEGIN}<h2>On the Edge TPU</h2><p>{facts['mapped']} of {facts['operators']} operators run on it "
        f"(edgetpu_compiler {escape(facts['compiler'])}{memory}). {escape(facts['note'])}</p>"
        f"<table>{head}{rows}</table>{_END}\n"
    )
