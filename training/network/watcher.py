"""Watches a stage of training: scores every epoch, keeps the best weights, leaves checkpoints, ends early."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from training import progress
from training.network.checkpoint import State
from training.network.pooled import inference
from training.network.scores import NOTHING, Score, Stage, score

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from training.network.checkpoint import Checkpoint
    from training.network.fit import Task

_HELD_AT_ONCE = 64
"""Held-out inputs that are scored in one step."""


class Watcher(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """One stage from `begin` to `end`; between them Keras calls it after every epoch."""

    def __init__(self, task: Task, *, epochs: int, checkpoint: Checkpoint, logs: Path | None) -> None:
        super().__init__()
        self.epoch = 0
        """The next one, from 0."""
        self.advance: progress.Advance
        self._task, self._epochs, self._checkpoint = task, epochs, checkpoint
        self._infer = inference(task.model, _HELD_AT_ONCE)
        self._start, self._best, self._best_epoch = NOTHING, NOTHING, 0
        self._weights: list[npt.NDArray[Any]] = task.model.get_weights()
        self._totals: list[npt.NDArray[Any]] = []
        self._averaged = 0
        self._curves: dict[str, list[float]] = {"loss": [], "validation_loss": [], "validation_accuracy": []}
        self._writer = tf.summary.create_file_writer(str(logs / task.name.replace(" ", "-"))) if logs else None

    def begin(self) -> bool:
        """Take up a checkpoint if there is one; returns whether the stage has come to its end already."""
        state = self._checkpoint.load()
        if state is None or not self._take(state):
            self._start = self._score()
            self._best = self._start if self._task.earlier else NOTHING
        return self._ended

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Score the weights as they are now."""
        self.epoch = epoch + 1
        now = self._score()
        self._keep(now)
        # Izmailov et al., Averaging weights leads to wider optima and better generalization (2018).
        if self.epoch > self._epochs * (1 - self._task.plan.averaging):
            weights = self._task.model.get_weights()
            self._totals = [a + b for a, b in zip(self._totals, weights, strict=True)] if self._totals else weights
            self._averaged += 1
        self._note(now, float((logs or {})["loss"]))
        self._task.model.stop_training = self._ended
        self._checkpoint.save(self._state())

    def end(self) -> Stage:
        """Put the best weights into the model, the last epochs' average among them; say what the stage came to."""
        if self._averaged:
            self._task.model.set_weights([total / self._averaged for total in self._totals])
            self._keep(self._score())
        self._task.model.set_weights(self._weights)
        kept = self._best > (self._start if self._task.earlier else NOTHING)
        return Stage(self._task.name, self.epoch, self._start, self._best, kept, **self._curves)

    @property
    def _ended(self) -> bool:
        """Whether all epochs are done, or the last better one is too long ago."""
        stale = self.epoch - self._best_epoch
        return self.epoch >= self._epochs or stale >= max(1, round(self._task.plan.patience * self._epochs))

    def _score(self) -> Score:
        return score(self._infer(self._task.held), self._task.held_truth)

    def _keep(self, now: Score) -> None:
        if now > self._best:
            self._best, self._best_epoch, self._weights = now, self.epoch, self._task.model.get_weights()

    def _note(self, now: Score, loss: float) -> None:
        self._curves["loss"].append(round(loss, 5))
        self._curves["validation_loss"].append(round(-now.minus_loss, 5))
        self._curves["validation_accuracy"].append(round(now.balanced_accuracy, 5))
        curve = progress.sparkline(self._curves["validation_loss"])
        accuracy = f"accuracy {now.balanced_accuracy:.1%}"
        self.advance(f"loss {loss:.3f}, validation loss {-now.minus_loss:.3f} {curve}, {accuracy}")
        if self._writer:
            with self._writer.as_default(step=self.epoch):
                for name, values in self._curves.items():
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
            notes={
                "epoch": self.epoch,
                "best_epoch": self._best_epoch,
                "averaged": self._averaged,
                "start": astuple(self._start),
                "best": astuple(self._best),
                "curves": self._curves,
            },
        )

    def _take(self, state: State) -> bool:
        """Put a state back; False, and nothing is changed, if it is of another model."""
        model = self._task.model
        targets = {"model": model.variables, "optimizer": model.optimizer.variables}
        for group, variables in targets.items():
            if [value.shape for value in state.arrays.get(group, [])] != [tuple(v.shape) for v in variables]:
                return False
        for group, variables in targets.items():
            for variable, value in zip(variables, state.arrays[group], strict=True):
                variable.assign(value)
        self._weights, self._totals = state.arrays["best"], state.arrays.get("total", [])
        notes = state.notes
        self.epoch, self._best_epoch, self._averaged = notes["epoch"], notes["best_epoch"], notes["averaged"]
        self._start, self._best, self._curves = Score(*notes["start"]), Score(*notes["best"]), notes["curves"]
        return True
