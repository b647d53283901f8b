"""What a check found, and how it is told: as text, and as plain values for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Level: TypeAlias = Literal["error", "warning", "note"]

_HEADINGS: dict[Level, str] = {"error": "To mend", "warning": "To look at", "note": "Good to know"}
_SHOWN = 3
"""How many pictures the text names for each finding."""


@dataclass(frozen=True, slots=True)
class Item:
    """What one finding is about: a picture, or several that belong together."""

    names: tuple[str, ...]
    suggested: str = ""
    """The class that the picture looks like, if another than it is in."""

    def __str__(self) -> str:
        """Name the pictures, and what they look like."""
        more = len(self.names) - _SHOWN
        names = " = ".join(self.names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f"{names} -> {self.suggested}" if self.suggested else names


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of trouble, or of what is good to know."""

    level: Level
    """error: a model cannot or should not be built of it; warning: somebody should look; note: it is dealt with."""
    kind: str
    """Its name for machines, such as unreadable."""
    text: str
    """What was found, with its count."""
    remedy: str = ""
    items: tuple[Item, ...] = ()
    """The worst first."""


def singles(names: Sequence[str]) -> tuple[Item, ...]:
    """Make an item of each name."""
    return tuple(Item((name,)) for name in names)


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Put errors before warnings before notes, each in the order given."""
    return sorted(findings, key=lambda finding: list(_HEADINGS).index(finding.level))


def counted(count: int, thing: str) -> str:
    """Say how many there are: 1 thing, 2 things."""
    return f"{count} {thing}" + "s" * (count != 1)


def verdict(findings: Sequence[Finding]) -> str:
    """Say in one line what is to be done."""
    count = {level: sum(finding.level == level for finding in findings) for level in _HEADINGS}
    parts = [f"{counted(count[level], 'thing')} {verb}" for level, verb in _VERBS if count[level]]
    return ", ".join(parts) or "nothing to mend, nothing to look at"


_VERBS: tuple[tuple[Level, str], ...] = (("error", "to mend"), ("warning", "to look at"))


def text(title: str, facts: Sequence[str], findings: Sequence[Finding]) -> str:
    """Return the whole report: the verdict first, then the findings by how much they hurt."""
    lines = [f"{title}: {verdict(findings)}", *facts]
    for level, heading in _HEADINGS.items():
        mine = [finding for finding in findings if finding.level == level]
        lines += ["", heading] * bool(mine)
        for finding in mine:
            lines += [f"- {finding.text}", *_details(finding)]
    return "\n".join(lines)


def _details(finding: Finding) -> list[str]:
    more = len(finding.items) - _SHOWN
    named = [f"    {item}" for item in finding.items[:_SHOWN]] + ([f"    and {more} more"] if more > 0 else [])
    return named + ([f"  > {finding.remedy}"] if finding.remedy else [])


def plain(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return plain values, every picture named."""
    return [asdict(finding) for finding in findings]
