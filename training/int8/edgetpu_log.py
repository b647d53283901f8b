"""What Google's edgetpu_compiler says, read strictly: version 16.0, and 14 to 15 where they differ.

Its exit codes are not documented, and a run that mapped nothing still says "compiled successfully": only what stands
here in one known form, and agrees with the rest, is believed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from edge.errors import BundleError

MAPPED = "Mapped to Edge TPU"
_NUMBER = "([0-9]{1,9})"
_SIZE = r"([0-9.]{1,12}(?:B|KiB|MiB|GiB))"
_ROW = re.compile(rf"([A-Z][A-Z0-9_]*)\s+{_NUMBER}\s+(\S.*)")
_MEMORY = {
    "on_chip_used": rf"On-chip memory used for caching model parameters: {_SIZE}",
    "on_chip_left": rf"On-chip memory remaining for caching model parameters: {_SIZE}",
    "off_chip_streamed": rf"Off-chip memory used for streaming uncached model parameters: {_SIZE}",
}
_AFTER_TABLE = re.compile(
    r"See the operation log file for individual operation details\."
    r"|Compilation child process completed within timeout period\.|Compilation succeeded!"
)
_REASONS = re.compile(r"Invalid model: .*|Compilation failed: .+|Compilation time.*|Model (could not be|not) .*")
"""It found fault with the model: another try would say the same."""
_ABORTS = re.compile(r"Internal compiler error.*|.*terminating with uncaught exception.*|Compilation failed!")
"""It fell over, without a reason or with its own: another try has been seen to succeed on the same file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """So many operators of one kind, and where they run or why not on the Edge TPU."""

    operator: str
    count: int
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapping:
    """Which operators run where."""

    compiler: str
    """Its version."""
    subgraphs: int
    rows: tuple[Row, ...]
    memory: dict[str, str]
    """As printed, rounded: "3.11MiB". The Edge TPU keeps some 8 MiB of weights; what is above is streamed."""

    @property
    def operators(self) -> int:
        """All operators of the model."""
        return sum(row.count for row in self.rows)

    @property
    def on_cpu(self) -> tuple[Row, ...]:
        """The rows that do not run on the Edge TPU."""
        return tuple(row for row in self.rows if row.status != MAPPED)

    def plain(self) -> dict[str, Any]:
        """Return it as report.json holds it."""
        on_cpu = sum(row.count for row in self.on_cpu)
        return {
            "compiler": self.compiler,
            "subgraphs": self.subgraphs,
            "operators": self.operators,
            "mapped": self.operators - on_cpu,
            "on_cpu": on_cpu,
            "memory": self.memory,
            "mapping": [{"operator": row.operator, "count": row.count, "status": row.status} for row in self.rows],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What the compiler said went wrong, and whether it is the kind that passes."""

    said: str
    passes: bool


def parse(text: str) -> Mapping:
    """Read the output of a successful run with --show_operations.

    Raises BundleError if a line that success needs is missing, doubled or at odds with another. Whether the mapping
    is good enough is not judged here.
    """
    lines = [line.strip() for line in text.splitlines()]
    _only(r"Model compiled successfully in [0-9]+ ms\.", lines, "success")
    rows = _table(lines)
    mapping = Mapping(
        compiler=_only(r"Edge TPU Compiler version (\S{1,50})", lines, "its version"),
        subgraphs=int(_only(f"Number of Edge TPU subgraphs: {_NUMBER}", lines, "its subgraphs")),
        rows=rows,
        memory={name: found[0] for name, pattern in _MEMORY.items() if (found := _all(pattern, lines))},
    )
    on_cpu = sum(row.count for row in mapping.on_cpu)
    _agree(_only(f"Total number of operations: {_NUMBER}", lines, "its operations"), mapping.operators)
    for pattern, counted in (("Edge TPU", mapping.operators - on_cpu), ("CPU", on_cpu)):
        # A model that is wholly mapped has no such lines.
        for said in _all(f"Number of operations that will run on {pattern}: {_NUMBER}", lines):
            _agree(said, counted)
    return mapping


def failure(text: str, *, died: bool = False) -> Failure:
    """Find the reason in the output of a run that did not succeed; any text has one. `died`: a signal ended it."""
    lines = [line for raw in text.splitlines() if (line := raw.strip())]
    for line, after in zip(lines, [*lines[1:], ""], strict=False):
        if _REASONS.fullmatch(line):
            # "Invalid model: NAME" has the reason in the next line.
            detail = f" {after}" if line.startswith("Invalid model") and not _AFTER_TABLE.fullmatch(after) else ""
            return Failure(said=f"{line}{detail}".strip(), passes=False)
    aborted = [line for line in lines if _ABORTS.fullmatch(line)]
    return Failure(said=[*aborted, *lines[-1:], "nothing at all"][0], passes=died or bool(aborted))


def _all(pattern: str, lines: list[str]) -> list[str]:
    return [match[match.lastindex or 0] for line in lines if (match := re.fullmatch(pattern, line))]


def _only(pattern: str, lines: list[str], what: str) -> str:
    found = _all(pattern, lines)
    if len(found) != 1:
        raise _unknown(f"{len(found)} lines tell of {what}")
    return found[0]


def _table(lines: list[str]) -> tuple[Row, ...]:
    heads = [number for number, line in enumerate(lines) if re.fullmatch(r"Operator\s+Count\s+Status", line)]
    if len(heads) != 1:
        raise _unknown(f"{len(heads)} tables of operators")
    rows = []
    for line in lines[heads[0] + 1 :]:
        if match := _ROW.fullmatch(line):
            rows.append(Row(operator=match[1], count=int(match[2]), status=match[3]))
        elif line and not _AFTER_TABLE.fullmatch(line):
            raise _unknown(f"{line[:80]!r} among the operators")
    return tuple(rows)


def _agree(said: str, counted: int) -> None:
    if int(said) != counted:
        raise _unknown(f"it counts {said} operators where its table has {counted}")


def _unknown(what: str) -> BundleError:
    return BundleError(f"the Edge TPU compiler's output is not as version 16.0 prints it: {what}; use that version")
