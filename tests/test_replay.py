"""Ranges that are asked for again: each verdict of each of them once, however often connections break."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import row

from edge.mqtt.replay import AT_ONCE, MOST_RANGES, Replays

ROWS = [row(seq) for seq in range(1, 100)]


class Reader:
    """Reads what is wanted of verdicts that are all there, and keeps which landed."""

    def __init__(self) -> None:
        self.replays = Replays()
        self.flying: dict[int, int] = {}
        self.landed: list[int] = []
        self._packet = 0

    def send(self) -> None:
        """Send one more, where one is wanted."""
        if (span := self.replays.wanted) is not None:
            self._packet += 1
            self.flying[self._packet] = span.after + 1
            self.replays.sent(self._packet, ROWS[span.after])

    def land(self, which: int) -> None:
        """Have the broker answer one of those in flight."""
        packet = list(self.flying)[which % len(self.flying)]
        self.landed.append(self.flying.pop(packet))
        assert self.replays.landed(packet)

    def lose(self) -> None:
        """Begin on a new connection."""
        self.flying.clear()
        self.replays.begin()


def test_a_range_too_many_is_refused_and_displaces_none() -> None:
    """The range after MOST_RANGES, the one that is being sent included, is refused by name; the others stay."""
    reader = Reader()
    assert [reader.replays.put(at, at) for at in range(1, MOST_RANGES + 1)] == [""] * MOST_RANGES
    reader.send()
    assert reader.replays.put(90, 99) == f"{MOST_RANGES} ranges wait; ask again when they were sent"
    reader.lose()
    while reader.replays.wanted:
        reader.send()
        reader.land(0)
    assert reader.landed == list(range(1, MOST_RANGES + 1))
    assert reader.replays.put(90, 99) == ""


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 30)), max_size=5),
    st.lists(st.tuples(st.sampled_from(["send", "send", "land", "break"]), st.integers(0, AT_ONCE)), max_size=150),
)
def test_each_verdict_of_each_range_lands_once(asked: list[tuple[int, int]], moves: list[tuple[str, int]]) -> None:
    """Whatever breaks when, in whatever order the broker answers: what landed is what was asked for, range by range."""
    reader = Reader()
    wanted = [list(range(first, first + count + 1)) for first, count in asked]
    for numbers in wanted:
        reader.replays.put(numbers[0], numbers[-1])
    for move, which in moves:
        if move == "send":
            reader.send()
        elif move == "break":
            reader.lose()
        elif reader.flying:
            reader.land(which)
        assert len(reader.flying) <= AT_ONCE
    while reader.flying or reader.replays.wanted:
        reader.send()
        reader.land(0)
    at = 0
    for numbers in wanted:
        assert sorted(reader.landed[at : at + len(numbers)]) == numbers
        at += len(numbers)
    assert at == len(reader.landed)
