"""Where a training run leaves its state after every epoch, so that the same command goes on where it ended."""

from __future__ import annotations

import io
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from training import cache, sealed
from training.network.scores import Score

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

_NOTES = "notes"
_MOST_BYTES = 2 << 30
"""What runs that were ended and not taken up again may take in all, searches and their trials among them."""


class Notes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How far a stage is, besides its arrays."""

    start: Score
    best: Score
    best_epoch: int = 0
    epoch: int = 0
    """The next one, from 0."""
    averaged: int = 0
    """Epochs that are in the totals."""
    loss: list[float] = []
    """The curves, a value for each epoch; see `scores.Stage`."""
    validation_loss: list[float] = []
    validation_accuracy: list[float] = []


@dataclass(frozen=True, slots=True)
class State:
    """Arrays by group, in order, and the notes."""

    arrays: dict[str, list[npt.NDArray[Any]]]
    notes: Notes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One stage's file in a run's folder: SHA-256 of what follows, then NumPy's npz of a `State`."""

    path: Path

    def save(self, state: State) -> None:
        """Replace what was saved, whole or not at all; raises as `sealed.save`."""
        flat = {f"{group} {i}": array for group, arrays in state.arrays.items() for i, array in enumerate(arrays)}
        notes = np.frombuffer(msgspec.msgpack.encode(state.notes), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, **{_NOTES: notes}, **flat)  # type: ignore[arg-type] # mypy takes them for other arguments
        sealed.save(self.path, buffer.getvalue())

    def load(self) -> State | None:
        """Return what was saved; None if nothing was, or if it cannot be read: the stage then begins anew."""
        try:
            return _decode(sealed.load(self.path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError) as error:
            print(f"{self.path} cannot be read ({error}): the stage begins anew", file=sys.stderr)
            return None


def _decode(saved: bytes) -> State:
    """Return what `save` wrote; raises ValueError or KeyError for others' notes."""
    arrays: dict[str, list[npt.NDArray[Any]]] = {}
    with np.load(io.BytesIO(saved), allow_pickle=False) as found:
        notes = msgspec.msgpack.decode(found[_NOTES].tobytes(), type=Notes)
        for name in found.files:
            if name != _NOTES:
                arrays.setdefault(name.rpartition(" ")[0], []).append(found[name])
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
        return Checkpoint(self.folder / f"{stage.replace(' ', '-')}.state")

    def finish(self) -> None:
        """Forget the run, whose result is written, and those that nobody went on with for longest."""
        shutil.rmtree(self.folder, ignore_errors=True)
        cache.prune(cache.folder("runs"), _MOST_BYTES)
