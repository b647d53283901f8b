"""Watches a stage of training: scores every epoch, keeps the best weights, leaves checkpoints, ends early."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from edge.errors import ConfigError
from training import progress
from training.network.checkpoint import Notes, State
from training.network.pooled import inference
from training.network.scores import NOTHING, Score, Stage, score

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from training.network.checkpoint import Checkpoint
    from training.network.fit import Schedule, Task


_HELD_AT_ONCE = 64
"""Held-out inputs that are scored in one step."""


class DivergedError(ConfigError):
    """The weights left the range of numbers: this stage's rate is too high for these pictures."""


class Watcher(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """One stage from `begin` to `end`; between them Keras calls it after every epoch."""

    def __init__(self, task: Task, schedule: Schedule, *, checkpoint: Checkpoint, logs: Path | None) -> None:
        super().__init__()
        self.advance: progress.Advance
        self._task, self._schedule, self._checkpoint = task, schedule, checkpoint
        self._infer = inference(task.model, min(_HELD_AT_ONCE, task.at_once))
        self._notes = Notes(start=NOTHING, best=NOTHING)
        self._weights: list[npt.NDArray[Any]] = task.model.get_weights()
        self._totals: list[npt.NDArray[Any]] = []
        self._diverged = False
        self._writer = tf.summary.create_file_writer(str(logs / task.name.replace(" ", "-"))) if logs else None

    @property
    def epoch(self) -> int:
        """The next one, from 0."""
        return self._notes.epoch

    def begin(self) -> bool:
        """Take up a checkpoint if there is one; returns whether the stage has come to its end already."""
        state = self._checkpoint.load()
        if state is None or not self._take(state):
            start = self._score()
            self._notes = Notes(start=start, best=start if self._task.earlier else NOTHING)
        return self._ended

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Score the weights as they are now; of an epoch that diverged nothing is kept or saved."""
        loss, now = float((logs or {})["loss"]), self._score()
        if not math.isfinite(loss) or now == NOTHING:
            self._diverged = self._task.model.stop_training = True
            return
        self._notes.epoch = epoch + 1
        self._keep(now)
        # Izmailov et al., Averaging weights leads to wider optima and better generalization (2018).
        if self.epoch > self._schedule.epochs * (1 - self._task.plan.averaging):
            weights = self._task.model.get_weights()
            self._totals = [a + b for a, b in zip(self._totals, weights, strict=True)] if self._totals else weights
            self._notes.averaged += 1
        self._note(now, loss)
        self._task.model.stop_training = self._ended
        self._checkpoint.save(self._state())

    def end(self) -> Stage:
        """Put the best weights into the model, the last epochs' average among them; say what the stage came to.

        A stage that diverged leaves the model that was there before; raises DivergedError if there was none.
        """
        notes, earlier = self._notes, self._task.earlier
        if self._diverged:
            self._say_diverged()
        if notes.averaged:
            self._task.model.set_weights([total / notes.averaged for total in self._totals])
            self._keep(self._score())
        self._task.model.set_weights(self._weights)
        return Stage(
            name=self._task.name,
            epochs=notes.epoch,
            batch=self._schedule.batch,
            start=notes.start,
            best=notes.best,
            kept=notes.best > (notes.start if earlier else NOTHING),
            loss=notes.loss,
            validation_loss=notes.validation_loss,
            validation_accuracy=notes.validation_accuracy,
        )

    @property
    def _ended(self) -> bool:
        """Whether all epochs are done, or the last better one is too long ago."""
        stale, epochs = self.epoch - self._notes.best_epoch, self._schedule.epochs
        return self.epoch >= epochs or stale >= max(1, round(self._task.plan.patience * epochs))

    def _score(self) -> Score:
        return score(self._infer(self._task.held), self._task.held_truth)

    def _keep(self, now: Score) -> None:
        if now > self._notes.best:
            self._notes.best, self._notes.best_epoch = now, self.epoch
            self._weights = self._task.model.get_weights()

    def _say_diverged(self) -> None:
        task = self._task
        said = (
            f"training {task.name} diverged, its loss was no number in epoch {self.epoch + 1}: "
            f"give this stage a lower rate than {task.plan.rate:g} in the recipe"
        )
        if not task.earlier:
            raise DivergedError(said)
        print(f"{said}; what was best on validation stays", file=sys.stderr)

    def _note(self, now: Score, loss: float) -> None:
        notes = self._notes
        curves = {
            "loss": (notes.loss, loss),
            "validation_loss": (notes.validation_loss, -now.minus_loss),
            "validation_accuracy": (notes.validation_accuracy, now.balanced_accuracy),
        }
        for values, value in curves.values():
            values.append(round(value, 5))
        curve = progress.sparkline(notes.validation_loss)
        accuracy = f"accuracy {now.balanced_accuracy:.1%}"
        self.advance(f"loss {loss:.3f}, validation loss {-now.minus_loss:.3f} {curve}, {accuracy}")
        if self._writer:
            with self._writer.as_default(step=self.epoch):
                for name, (values, _) in curves.items():
                    tf.summary.scalar(name, values[-1])

    def _state(self) -> State:
        model = self._task.model
        return State(
            arrays={
                "model": [variable.numpy() for variable in model.variables],
                "optimizer": [variable.numpy() for variable in model.optimizer.variables],
                "best": self._weights,
                "total": self._totals,
            },
            notes=self._notes,
        )

    def _take(self, state: State) -> bool:
        """Put a state back; False, and nothing is changed, if it is of another model."""
        model, own, saved = self._task.model, self._state().arrays, state.arrays
        own["total"] = own["best"] if state.notes.averaged else []
        if _kinds(own) != _kinds({group: saved.get(group, []) for group in own}):
            return False
        for group, variables in (("model", model.variables), ("optimizer", model.optimizer.variables)):
            for variable, value in zip(variables, saved[group], strict=True):
                variable.assign(value)
        self._weights, self._totals, self._notes = saved["best"], saved.get("total", []), state.notes
        return True


def _kinds(arrays: dict[str, list[npt.NDArray[Any]]]) -> dict[str, list[Any]]:
    """Say what there is, besides the values."""
    return {group: [(value.shape, value.dtype) for value in values] for group, values in arrays.items()}
