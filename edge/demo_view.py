"""What the demo shows: the last verdicts, running counts, latency, and truth against verdict."""

from __future__ import annotations

from collections import Counter, deque
from statistics import median
from typing import TYPE_CHECKING, Self, TypeAlias

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edge.contract.messages import Event, Health, Message, Model, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import JustifyMethod, RenderableType

COLOURS = {Verdict.PASS: "green", Verdict.DEFECT: "red", Verdict.UNKNOWN: "yellow"}
LAST = 12
RECENT = 100
"""How many verdicts the latency figures look back."""
BAR = 8

_Column: TypeAlias = "tuple[str, int, int, JustifyMethod]"
_COLUMNS: tuple[_Column, ...] = (
    ("seq", 4, 0, "right"),
    ("part", 12, 1, "left"),
    ("verdict", 7, 0, "left"),
    ("label", 14, 1, "left"),
    ("score", BAR + 5, 0, "left"),
    ("ms", 5, 0, "right"),
)
"""Heading, least width, share of the width that is left, alignment."""
_NARROW, _FEWER = 70, 4
"""Below so many characters a line only the first columns are shown."""


class _Console(Console):
    """Leaves a reader that went away to `edge.command`, as everywhere else."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class View:
    """A live table in a terminal; a line a verdict where there is none."""

    def __init__(self, broker: str, picture: Path | None) -> None:
        self._broker = broker
        self._picture = picture
        self._console = _Console()
        self._status = "starting"
        self._model: Model | None = None
        self._health: Health | None = None
        self._last: deque[Event] = deque(maxlen=LAST)
        self._latencies: deque[float] = deque(maxlen=RECENT)
        self._verdicts: Counter[Verdict] = Counter()
        self._confusion: Counter[tuple[str, str]] = Counter()
        self._live = Live(console=self._console, auto_refresh=False, get_renderable=self._render)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()
        if not self._console.is_terminal:
            self._console.print(self._render())
        if self._picture:
            self._save(self._picture)

    def show(self, message: Message) -> None:
        """Take in one message of the daemon."""
        match message:
            case Status():
                self._status = message.state
            case Model():
                self._model = message
            case Health():
                self._health = message
            case Event():
                self._count(message)
                if not self._console.is_terminal:
                    self._console.print(_line(message))
        self.refresh()

    def refresh(self) -> None:
        """Draw again."""
        if self._live.is_started:
            self._live.refresh()

    def _count(self, event: Event) -> None:
        self._last.append(event)
        self._latencies.append(event.latency_ms.total)
        self._verdicts[event.verdict] += 1
        truth = event.source.partition("/")[0]
        if self._model and truth in self._model.labels:
            self._confusion[truth, event.label or event.verdict] += 1

    def _render(self) -> RenderableType:
        shown = _COLUMNS[:_FEWER] if self._console.width < _NARROW else _COLUMNS
        parts: list[RenderableType] = [self._headline(), _events(self._last, shown)]
        if self._confusion and self._model:
            parts.append(Columns([self._counts(), _confusion(self._confusion, list(self._model.labels))]))
        else:
            parts.append(self._counts())
        return Panel(Group(*parts), title="edge-inspect demo", subtitle="Ctrl-C ends it", border_style="blue")

    def _headline(self) -> Text:
        model = f"{self._model.name} {self._model.sha256[:8]}" if self._model else "..."
        return Text(f"daemon {self._status} | model {model} | broker {self._broker}", style="dim")

    def _counts(self) -> Table:
        table = Table(title="so far", show_header=False, title_justify="left")
        for verdict, colour in COLOURS.items():
            table.add_row(Text(verdict, style=colour), str(self._verdicts[verdict]))
        if self._latencies:
            table.add_row("median latency", f"{median(self._latencies):.1f} ms")
        if self._confusion:
            right = sum(n for (truth, label), n in self._confusion.items() if truth == label)
            table.add_row("label right", f"{right} of {self._confusion.total()}")
        if self._health:
            table.add_row("frames dropped", str(self._health.frames_dropped))
            table.add_row("memory", f"{self._health.rss_mib:.0f} MiB")
        return table

    def _save(self, path: Path) -> None:
        with open("/dev/null", "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - drawn to be recorded only
            recorder = Console(record=True, width=100, file=nowhere)
            recorder.print(self._render())
        recorder.save_svg(str(path), title="make demo")


def _events(events: deque[Event], columns: Sequence[_Column]) -> Table:
    table = Table(expand=True)
    for heading, width, share, justify in columns:
        table.add_column(heading, min_width=width, ratio=share or None, justify=justify, no_wrap=True)
    for event in events:
        score = event.score or 0.0
        bar = Text("█" * round(score * BAR), style=COLOURS[event.verdict])
        cells = (
            Text(str(event.seq)),
            Text(event.source),
            Text(event.verdict, style=f"bold {COLOURS[event.verdict]}"),
            Text(event.label or event.reason),
            Text.assemble(bar, f" {score:.2f}"),
            Text(f"{event.latency_ms.total:.1f}"),
        )
        table.add_row(*cells[: len(columns)])
    return table


def _confusion(confusion: Counter[tuple[str, str]], labels: list[str]) -> Table:
    table = Table(title="truth (rows) and label (columns)", title_justify="left")
    table.add_column("")
    for number, _ in enumerate(labels, 1):
        table.add_column(str(number), justify="right")
    for number, truth in enumerate(labels, 1):
        cells = (_cell(confusion[truth, label], right=truth == label) for label in labels)
        table.add_row(f"{number} {truth}", *cells)
    return table


def _cell(count: int, *, right: bool) -> Text:
    return Text(str(count) if count else "·", style="green" if right else "bold red" if count else "dim")


def _line(event: Event) -> Text:
    score = f"{event.score:.2f}" if event.score is not None else ""
    return Text(f"{event.seq:6} {event.source:32} {event.verdict:8} {event.label or event.reason} {score}")
