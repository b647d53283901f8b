"""What tune says in the end: a table, the best setting and why, and the lines for the configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from edge import __version__, clock
from edge.golden import EXPECTED
from edge.record import Record
from edge.tune.choice import GAIN, Row, Verdict, best, compare
from edge.tune.plan import applied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.contract.bundle import Bundle
    from edge.sections.runtime import Runtime

_NOISY = GAIN
"""Rounds of one setting that differ by more could as well have made another one the best."""
_HEAD = ("engine", "threads", "frame ms", "p95", "invoke ms", "p95", "MiB", "same labels", "spread")


class Result(Record, frozen=True, kw_only=True):
    """What was measured, and what follows."""

    rows: tuple[Row, ...]
    verdicts: tuple[Verdict | None, ...]
    """Of each row, None without a round."""
    base: Runtime
    size: tuple[int, int]
    notes: tuple[str, ...]

    @property
    def best(self) -> Row | None:
        """The setting to use; None where none judges rightly."""
        return best([row for row, found in self._pairs if found and found.right and not row.failure])

    @property
    def remarks(self) -> list[str]:
        """What to think of before one believes it."""
        chosen = self.best
        if chosen and len(chosen.rounds) > 1 and chosen.spread > _NOISY:
            how = f"its rounds differ by {chosen.spread:.0%}: stop other programs, the daemon too, and repeat it longer"
            return [*self.notes, f"noisy: {how}"]
        return list(self.notes)

    @property
    def snippet(self) -> str:
        """[runtime] with the best setting; what else it says stays."""
        if self.best is None:
            return ""
        setting = self.best.setting
        # What has its default is left out of it, but what was chosen is to be seen.
        values = {**msgspec.to_builtins(applied(self.base, setting)), **msgspec.to_builtins(setting)}
        return "\n".join(["[runtime]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())])

    def as_text(self) -> str:
        """Return it for people."""
        lines = [_HEAD, *(_cells(row, found) for row, found in self._pairs if found)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        failed = [f"{row.setting.name}: {row.failure}" for row in self.rows if row.failure]
        height, width = self.size
        said = [f"frames of {width}x{height} pixels", *(table if len(table) > 1 else ["nothing was measured"]), *failed]
        chosen = self.best
        if chosen:
            said += ["", f"best: {chosen.setting.name}, 95% of frames within {chosen.frame_ms[1]:.1f} ms", _RULE]
        return "\n".join([*said, *self.remarks, *(["", self.snippet] if chosen else [])])

    def as_json(self) -> str:
        """Return it for machines."""
        rows = [_fields(row, found) for row, found in self._pairs]
        chosen = self.best
        said = {
            "rows": rows,
            "best": chosen.setting if chosen else None,
            "runtime": self.snippet,
            "frame": {"height": self.size[0], "width": self.size[1]},
            "remarks": self.remarks,
            "version": __version__,
            "time": clock.now(),
        }
        return msgspec.json.encode(said).decode()

    @property
    def _pairs(self) -> list[tuple[Row, Verdict | None]]:
        return list(zip(self.rows, self.verdicts, strict=True))


_RULE = f"(a setting with more threads, or with an Edge TPU, has to be {GAIN:.0%} faster to be taken)"


def judged(rows: Sequence[Row], bundle: Bundle) -> tuple[Verdict | None, ...]:
    """Compare each row's scores with the golden frames', or, of a bundle without them, with the first row's."""
    if EXPECTED in bundle.files:
        golden = msgspec.json.decode(bundle.files[EXPECTED], type=dict[str, dict[str, float]])
        labels = [label.name for label in bundle.manifest.labels]
        expected = [[golden[name][label] for label in labels] for name in sorted(golden)]
    else:
        expected = [list(scores) for scores in next((row.rounds[0].scores for row in rows if row.rounds), ())]
    tolerance = bundle.manifest.golden_tolerance
    return tuple(compare(row, expected, tolerance) if row.rounds else None for row in rows)


def _cells(row: Row, found: Verdict) -> tuple[str, ...]:
    chip = "" if row.setting.accelerator == "none" else " + edgetpu"
    wrong = "" if found.right else f", off by {found.worst:.2g}"
    return (
        f"{row.setting.engine}{chip}",
        str(row.setting.threads),
        *(f"{each:.1f}" for each in (*row.frame_ms, *row.invoke_ms)),
        f"{row.memory_mib:.0f}",
        f"{found.agreeing} of {found.pictures}{wrong}",
        f"{row.spread:.0%}",
    )


def _fields(row: Row, found: Verdict | None) -> dict[str, Any]:
    fields: dict[str, Any] = {**msgspec.to_builtins(row.setting), "failure": row.failure}
    if found is None:
        return fields
    names = ("frame_ms", "frame_p95_ms", "invoke_ms", "invoke_p95_ms")
    times = dict(zip(names, (round(each, 3) for each in (*row.frame_ms, *row.invoke_ms)), strict=True))
    memory = {"memory_mib": round(row.memory_mib, 1), "spread": round(row.spread, 3), "rounds": len(row.rounds)}
    same = {"labels_same": found.agreeing, "pictures": found.pictures, "worst_score": found.worst, "right": found.right}
    return fields | times | memory | same
