"""Which of the requests that were taken in are handed on, when, and to whom."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from conftest import free_port
from test_publisher import Line

from edge.mqtt.connection import Asked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.contract.commands import Request, Trigger
    from edge.mqtt.intake import Intake


def asked(name: str, transaction: str) -> Asked:
    return Asked(f"inspect/v1/test/dut/command/{name}", json.dumps({"transaction": transaction}).encode(), False)


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[Intake]:
    """Return that of a line whose broker is away."""
    line = Line(tmp_path, free_port(), allow=["trigger", "pause"])
    yield line.publisher.intake
    line.stop(0)


def waiting(intake: Intake) -> list[Request]:
    return [intake.requests.get()[1] for _ in range(intake.requests.qsize())]


def test_triggers_are_fired_in_the_order_in_which_they_came(intake: Intake) -> None:
    """Those that came before anybody could fire them are fired before any later one; the rest waits to be obeyed."""
    noted: list[str] = []
    fired: list[str] = []
    intake.note = lambda request: noted.append(request.transaction)
    for name, transaction in (("trigger", "1"), ("pause", "2"), ("trigger", "3")):
        intake.consider(asked(name, transaction))
    intake.fire_by(lambda request, _: fired.append(request.transaction))
    intake.consider(asked("trigger", "4"))
    assert fired == ["1", "3", "4"]
    assert noted == ["1", "3"]
    assert [each.transaction for each in waiting(intake)] == ["2"]


def test_an_end_waits_for_the_trigger_that_is_being_fired(intake: Intake) -> None:
    """What is heard is fired before the last ones are given up, or refused: none is fired behind that."""
    begun, done = threading.Event(), threading.Event()
    fired: list[str] = []

    def fire(request: Trigger, _: float) -> None:
        begun.set()
        assert done.wait(20)
        fired.append(request.transaction)

    intake.fire_by(fire)
    sender = threading.Thread(target=lambda: intake.consider(asked("trigger", "1")))
    sender.start()
    assert begun.wait(20)
    end = threading.Thread(target=intake.end)
    end.start()
    end.join(0.1)
    assert end.is_alive()
    done.set()
    end.join(20)
    sender.join(20)
    intake.consider(asked("trigger", "2"))
    assert fired == ["1"]
    assert intake.refused == 1
    assert waiting(intake) == []
