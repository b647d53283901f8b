"""Power cuts at every step of what is done to a state folder, each of which leaves a folder of its own.

python power_cuts.py DEVICE ACTION    ACTION: a key of ACTIONS; what is cut at step N is left in DEVICE-ACTION-N

A cut comes before a file is opened, renamed or removed, or a folder made, and takes along half of each file that was
not synced.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slot_samples import prove, start, try_out

from edge.contract import bundle as bundles
from edge.slots import choice

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIONS: dict[str, Callable[[Path], object]] = {
    "prove": lambda device: prove(device, "new"),
    "replace": lambda device: prove(device, "newer"),
    "try": lambda device: try_out(device, "new"),
    "try another": lambda device: try_out(device, "newer"),
    "roll back": lambda device: start(device, "new"),
    "back": lambda device: choice.change(
        device / "state", lambda made: made.refuse(bundles.identify(device / "new"), "was left")
    ),
}
_STEPS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}


class _Cut:
    """Ends this process at its Nth step in a folder."""

    def __init__(self, folder: Path, steps: int) -> None:
        self._folder = folder
        self._steps = steps
        self._synced = {path.stat().st_ino for path in folder.rglob("*")}
        self._is_over = False
        fsync = os.fsync

        def synced(descriptor: int) -> None:
            fsync(descriptor)
            self._synced.add(os.fstat(descriptor).st_ino)

        os.fsync = synced  # type: ignore[assignment]
        sys.addaudithook(self._on_step)

    def _on_step(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._is_over or event not in _STEPS or not str(arguments[0]).startswith(str(self._folder)):
            return
        self._steps -= 1
        if self._steps < 0:
            self._is_over = True
            for path in self._folder.rglob("*"):
                with suppress(OSError):
                    if path.is_file() and path.stat().st_ino not in self._synced:
                        os.truncate(path, path.stat().st_size // 2)
            os._exit(9)


def cut(device: Path, action: Callable[[Path], object], steps: int, left: Path) -> bool:
    """Do it in a copy of the device, in a process that ends after so many steps; False if it was done by then."""
    shutil.copytree(device, left)
    if (child := os.fork()) == 0:
        _Cut(left / "state", steps)
        action(left)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def main() -> None:
    """Cut one step later each time, until it is done."""
    device, name = Path(sys.argv[1]), sys.argv[2]
    left = partial("{}-{}-{:03}".format, device, name)
    steps = 0
    while cut(device, ACTIONS[name], steps, Path(left(steps))):
        steps += 1


if __name__ == "__main__":
    main()
