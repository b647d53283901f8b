"""Where a training run leaves its state after every epoch, so that the same command goes on where it ended."""

from __future__ import annotations

import io
import json
import shutil
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from training import cache

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

_NOTES = "notes"
_MOST_BYTES = 2 << 30
"""What runs that were ended and not taken up again may take in all."""


@dataclass(frozen=True, slots=True)
class State:
    """Arrays by group, in order, and what else there is to note, as JSON."""

    arrays: dict[str, list[npt.NDArray[Any]]]
    notes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One stage's file in a run's folder."""

    path: Path

    def save(self, state: State) -> None:
        """Replace what was saved, whole or not at all; raises OSError."""
        flat = {f"{group} {i}": array for group, arrays in state.arrays.items() for i, array in enumerate(arrays)}
        notes = np.frombuffer(json.dumps(state.notes).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, **{_NOTES: notes}, **flat)  # type: ignore[arg-type] # mypy takes them for other arguments
        cache.write(self.path, buffer.getvalue())

    def load(self) -> State | None:
        """Return what was saved; None if nothing was, or if it cannot be read: the stage then begins anew."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                notes = json.loads(content[_NOTES].tobytes())
                arrays: dict[str, list[npt.NDArray[Any]]] = {}
                for name in content.files:
                    if name != _NOTES:
                        arrays.setdefault(name.rpartition(" ")[0], []).append(content[name])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            print(f"{self.path} cannot be read ({error}): the stage begins anew", file=sys.stderr)
            return None
        return State(arrays, notes)


@dataclass(frozen=True, slots=True)
class Run:
    """The folder of one training run; `key` is a hash of everything that the run depends on."""

    key: str

    @property
    def folder(self) -> Path:
        """In the user's cache."""
        return cache.folder("runs", self.key)

    def checkpoint(self, stage: str) -> Checkpoint:
        """Return the place of a stage's state."""
        return Checkpoint(self.folder / f"{stage.replace(' ', '-')}.npz")

    def finish(self) -> None:
        """Forget the run, whose result is written, and those that nobody went on with for longest."""
        shutil.rmtree(self.folder, ignore_errors=True)
        cache.prune(self.folder.parent, _MOST_BYTES)
