"""A writer that is ended at any point, by whatever it is: the end of the daemon writes what it left, once, in order."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from device import end, running_daemon, stop, write_config
from ledger_samples import event
from recorder import Recorder
from remote_pi import RemotePi
from test_ledger import PLENTY, Heard, everything, opened
from test_stores import fail

from edge.contract.messages import Verdict
from edge.errors import InspectError, LedgerError
from edge.ledger import ledger as ledgers
from edge.ledger import pending
from edge.ledger.ledger import Ledger
from edge.ledger.rows import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import CodeType, FrameType

    from conftest import Broker

    from edge.contract.messages import Event

pytestmark = pytest.mark.usefixtures("killed")

FOLDER = ledgers.__file__.rpartition("/")[0]
GROUP = 5
STRIDE = 11
"""Steps from one to the next that is tried; `make soak` tries them all."""


class Executioner:
    """Ends the writer at a step of its, counted from when it is told to.

    A step is where Python looks for what is to end a thread: where a function begins, and behind each call of C.
    """

    def __init__(self, step: int) -> None:
        self._left = step
        self.armed = False
        self.done = False

    def follow(self, frame: FrameType, what: str, _: object) -> None:
        """As sys.setprofile has it."""
        if self.armed and not self.done and what in ("call", "c_return") and is_own(frame.f_code):
            self._left -= 1
            if self._left < 0:
                self.done = True
                raise SystemExit


def is_own(code: CodeType) -> bool:
    """Say whether code is the ledger's, or what it is woven with."""
    return code.co_filename.startswith((FOLDER, contextlib.__file__)) or code.co_qualname.startswith("Condition.")


@contextmanager
def followed(executioner: Executioner) -> Iterator[None]:
    """Have threads that are started meanwhile be followed."""
    threading.setprofile(executioner.follow)
    try:
        yield
    finally:
        threading.setprofile(None)


def life(folder: Path, executioner: Executioner, refuse: Callable[[], None]) -> list[Event]:
    """Have a writer be ended while it writes a group, and close; returns what it was given."""
    ledger, heard = Ledger(folder, PLENTY), Heard()
    with followed(executioner):
        ledger.start(heard)
    heard.wait_for(0)
    given = [event(verdict=Verdict.DEFECT)]
    ledger.append(given[0])
    heard.wait_for(1)
    refuse()
    executioner.armed = True
    for _ in range(GROUP):
        given.append(event())
        try:
            ledger.append(given[-1])
        except InspectError:
            break
    assert ledger.close(20) == 0
    return given


def check_whole(folder: Path, given: list[Event]) -> None:
    """Have each verdict be in the ledger once, in order, under numbers without a gap."""
    with opened(folder) as (ledger, _):
        found = everything(ledger)
    assert [each.seq for each in found if isinstance(each, Row)] == list(range(1, len(given) + 1))
    assert [json.loads(each.json)["id"] for each in found if isinstance(each, Row)] == [each.id for each in given]
    assert len(found) == len(given)
    assert not list(folder.glob("*damaged*"))


@pytest.mark.parametrize("refused", [0, 1], ids=["disk", "memory"])
def test_a_writer_may_end_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int, *, soak: bool
) -> None:
    """Of its writing and closing, to the disk or to memory and back: nothing is lost, and nothing has two numbers."""
    monkeypatch.setattr(pending, "GROUP_SECONDS", 60.0)
    step = 0
    while True:
        (folder := tmp_path / str(step)).mkdir()
        executioner = Executioner(step)
        with monkeypatch.context() as broken:
            given = life(folder, executioner, partial(fail, broken, LedgerError, refused))
        check_whole(folder, given)
        if not executioner.done:
            break
        step += 1 if soak else STRIDE
    assert step > 50


def test_the_daemon_loses_none_when_its_writer_ends(
    tmp_path: Path, broker: Broker, demo_bundle: Path, figure: Callable[[str], None], *, soak: bool
) -> None:
    """At any moment, life after life: the next one delivers all that was judged, up to the one that was just given."""
    pi, dice = RemotePi(tmp_path), random.Random(5)  # noqa: S311 - moments, not secrets
    mqtt = {"host": "127.0.0.1", "port": broker.port}
    config = write_config(tmp_path / "device.toml", bundle=demo_bundle, camera=pi.camera, mqtt=mqtt, health_every_s=0.2)
    lives = 40 if soak else 3
    with Recorder(broker.port) as recorder:
        for _ in range(lives):
            with running_daemon(config, pi.environment) as daemon:
                behind = len(recorder.named("event"))
                wanted = dice.randrange(5, 40)
                recorder.wait(lambda r, most=behind + wanted: len(r.named("event")) > most)  # type: ignore[misc]
                pi.do("kill ledger")
                end(daemon, 30)
        with running_daemon(config, pi.environment) as daemon:
            recorder.wait(lambda r: len({event["boot_id"] for event in r.named("event")}) > lives)
            stop(daemon)
        recorder.wait_for_status("offline")
    given: defaultdict[str, set[int]] = defaultdict(set)
    for each in recorder.named("event"):
        given[each["boot_id"]].add(int(each["trigger"].removeprefix("free-")))
    assert all(numbers == set(range(1, len(numbers) + 1)) for numbers in given.values())
    counted = {each["boot_id"]: each["frames_judged"] for each in recorder.named("health")}
    behind_counted = [len(given[boot]) - counted[boot] for boot in list(given)[:lives]]
    assert all(0 <= count <= 1 for count in behind_counted)  # One was not counted: it heard of the end.
    numbers = sorted({each["seq"] for each in recorder.named("event")})
    assert numbers == list(range(1, len(numbers) + 1))
    assert len({each["id"] for each in recorder.named("event")}) == len(numbers)
    figure(f"{lives} writers ended, {len(numbers)} verdicts, none missing, {sum(behind_counted)} after the last count")
