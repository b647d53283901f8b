"""The picture of the last defect, beside those of all events: shown once, and costing none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.album import Album, Picture
from edge.contract.messages import LAST_DEFECT, Verdict
from edge.contract.ulid import new_ulid
from edge.mqtt.pictures import Pictures

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from edge.mqtt.manner import Manner


class Desk:
    """An album and what is sent of it."""

    def __init__(self, folder: Path, *, shows_defect: bool = True) -> None:
        self.album = Album(folder, 1 << 20)
        self.pictures = Pictures(self.album, lambda *_: True, shows_defect=shows_defect)
        self.sent: list[tuple[str, bytes]] = []

    def put(self, *verdicts: Verdict) -> list[str]:
        """Have the album hold pictures with these verdicts, each of the bytes of its event's id; returns those ids."""
        kept = [Picture(new_ulid(), verdict) for verdict in verdicts]
        for each in kept:
            assert self.album.add(each, each.event.encode())
            self.pictures.put(each)
        return [each.event for each in kept]

    def send(self) -> bool:
        """Send one; False if there is none."""
        known = len(self.sent)
        self.pictures.send(self._publish)
        return len(self.sent) > known

    def send_all(self) -> None:
        """Send while there is anything, each answered."""
        while self.send():
            self.pictures.landed(len(self.sent))

    def _publish(self, name: str, jpeg: bytes, _manner: Manner) -> int | None:
        self.sent.append((name, jpeg))
        return len(self.sent)


def test_the_newest_defect_is_shown_and_every_picture_sent(tmp_path: Path) -> None:
    """No UNKNOWN, no part that passed and was asked for, and of a backlog the newest only."""
    desk = Desk(tmp_path)
    first = desk.put(Verdict.DEFECT, Verdict.DEFECT, Verdict.UNKNOWN, Verdict.PASS)
    desk.send_all()
    second = desk.put(Verdict.UNKNOWN, Verdict.DEFECT)
    desk.send_all()
    shown = [jpeg.decode() for name, jpeg in desk.sent if name == LAST_DEFECT]
    assert shown == [first[1], second[1]]
    own = [(name, jpeg.decode()) for name, jpeg in desk.sent if name != LAST_DEFECT]
    assert own == [(f"image/{event}", event) for event in first + second]
    assert desk.album.waiting() == []


def test_a_cut_costs_neither(tmp_path: Path) -> None:
    """What was on its way when the connection ended is shown, and sent, on the next."""
    desk = Desk(tmp_path)
    (event,) = desk.put(Verdict.DEFECT)
    for _ in range(2):  # Once it is the one that is shown, once the event's own.
        assert desk.send()
        desk.pictures.lose()
        desk.pictures.begin()
        assert desk.send()
        desk.pictures.landed(len(desk.sent))
    names = [name for name, _ in desk.sent]
    assert names == [LAST_DEFECT, LAST_DEFECT, f"image/{event}", LAST_DEFECT]
    desk.send_all()
    assert desk.sent[-1][0] == f"image/{event}"
    assert desk.album.waiting() == []


def test_it_is_not_sent_where_nobody_looks(tmp_path: Path) -> None:
    """Without Home Assistant a picture goes once."""
    desk = Desk(tmp_path, shows_defect=False)
    events = desk.put(Verdict.DEFECT, Verdict.UNKNOWN)
    desk.send_all()
    assert [name for name, _ in desk.sent] == [f"image/{event}" for event in events]


def test_over_a_connection_that_is_over_one_picture_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands may wait: a sender that read them all for nothing would not connect anew meanwhile."""
    desk = Desk(tmp_path, shows_defect=False)
    desk.put(*[Verdict.DEFECT] * 5)
    read: list[Picture] = []
    monkeypatch.setattr(desk.album, "read", lambda picture: read.append(picture) or b"jpeg")
    desk.pictures.send(lambda *_: None)
    assert len(read) == 1
    monkeypatch.undo()
    desk.pictures.begin()
    desk.send_all()
    assert len(desk.sent) == 5
