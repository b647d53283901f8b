"""The engine that asks the accelerator, and the CPU whenever that does not answer.

The CPU's interpreter is open in any case: it is what a device without an accelerator has too, so that it costs nothing
more, and it answers for the very frame whose invoke failed. To load it only then would take a Raspberry Pi a second.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge import heat
from edge.accelerator.examiner import Examiner
from edge.accelerator.plan import Plan, Step
from edge.accelerator.process import Worker
from edge.accelerator.task import Limits, Task
from edge.accelerator.wire import Job
from edge.contract.bundle import EDGE_TPU_MODEL
from edge.contract.messages import Accelerator
from edge.errors import AcceleratorError, BundleError
from edge.golden import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.contract.bundle import Bundle
    from edge.engine import Engine, InProcess, Stored
    from edge.sections.runtime import Runtime

log = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0
"""Between two looks at the temperature."""
_REAP_SECONDS = 0.1
"""Between two looks at a killed process."""
_CLOSE_SECONDS = 1.0


def accelerate(
    cpu: InProcess,
    bundle: Bundle,
    settings: Runtime,
    accept: Callable[[Engine], object],
    limits: Limits | None = None,
) -> Accelerated:
    """Return an engine that asks the settings' accelerator first; raises BundleError if the bundle has none for it."""
    remedy = "or set runtime.accelerator to none"
    if EDGE_TPU_MODEL not in bundle.files:
        raise BundleError(f"the bundle has no {EDGE_TPU_MODEL}; make it with edge-train compile, {remedy}")
    if EXPECTED not in bundle.files:
        raise BundleError(f"the bundle has no golden frames to try an Edge TPU by; rebuild it, {remedy}")
    job = Job(
        engine=settings.engine,
        threads=settings.threads,
        library=settings.library,
        device=settings.device,
        reset=False,
        labels=len(bundle.manifest.labels),
        canvas=cpu.layout.canvas,
        corners=cpu.layout.corners,
    )
    task = Task(model=bundle.files[EDGE_TPU_MODEL], job=job, layout=cpu.layout, accept=accept)
    return Accelerated(cpu, task, limits or Limits(deadline=settings.invoke_deadline_ms / 1e3))


def job_for(step: Step, job: Job) -> Job:
    """Return what a worker is to do at this step: there is nothing on PCIe that could be reset."""
    return msgspec.structs.replace(job, reset=step is Step.RESET and not job.device.startswith("pci"))


class Accelerated:
    """An engine: one thread asks it, another of its own opens the accelerator, checks it and looks after it."""

    def __init__(self, cpu: Engine, task: Task, limits: Limits, root: Path = Path("/")) -> None:
        """Begin to open the accelerator; the CPU answers until it is there. Temperatures are read below `root`."""
        self._cpu = cpu
        self._task = task
        self._limits = limits
        self._root = root
        self._invokes = 0
        self._temperature: float | None = None
        self._said = ""
        self._worker: Worker | None = None
        self._candidate: Worker | None = None
        self._dying: list[Worker] = []
        self._held_since = math.inf
        self._ended = False
        self._plan = Plan(time.monotonic(), limits.pace)
        self._changed = threading.Condition()
        self._examiner = Examiner(task.layout, limits.examining)
        self._cpu_seconds = 0.0
        self._ask_cpu(self._examiner.sample)
        self._thread = threading.Thread(target=self._tend, name="accelerator", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why the CPU judges; nothing while the accelerator does, and before it was first tried."""
        with self._changed:
            held = time.monotonic() - self._held_since > self._limits.ending
            more = "; a driver holds its process: switch the device off and on" if held else ""
            return f"the CPU judges: {self._plan.reason}{more}" if self._plan.reason else ""

    @property
    def process(self) -> int | None:
        """The id of the process that has the accelerator; None while there is none."""
        worker = self._worker
        return worker.id if worker is not None else None

    def health(self) -> Accelerator:
        """Say how it fares."""
        with self._changed:
            return Accelerator(
                kind="edgetpu",
                state=self._plan.state,
                failures=self._plan.failures,
                invokes=self._invokes,
                temperature_c=self._temperature,
            )

    def rss_mib(self) -> float:
        """Return the resident memory of its processes in MiB."""
        with self._changed:
            held = [worker for worker in (self._worker, self._candidate, *self._dying) if worker is not None]
            return sum(worker.rss_mib() for worker in held)

    def settle(self, seconds: float) -> str:
        """Wait until the accelerator judges, or has failed so often that it is left alone; return `trouble`."""
        with self._changed:
            done = self._changed.wait_for(lambda: self._plan.accelerated or self._plan.paused, seconds)
        return self.trouble or ("" if done else f"the Edge TPU was not open after {seconds:g} s")

    def run(self, canvas: Stored) -> Mapping[int, Stored]:
        """Return a canvas' outputs, from the CPU where the accelerator fails.

        Raises AcceleratorError where that would take longer than the deadline.
        """
        worker, started = self._worker, time.monotonic()
        if worker is not None:
            try:
                self._examiner.look(lambda sample: worker.run(sample, self._share()), started)
                outputs = worker.run(canvas, self._share())
            except AcceleratorError as error:
                self._lose(worker, str(error))
                if time.monotonic() - started + self._cpu_seconds > self._limits.deadline:
                    late = f"the CPU needs {self._cpu_seconds * 1e3:.0f} ms more"
                    raise AcceleratorError(f"{error}, and {late}, which is past the deadline") from error
            else:
                self._invokes += 1
                return outputs
        return self._ask_cpu(canvas)

    def close(self) -> None:
        """End the accelerator's process and this object's thread."""
        with self._changed:
            self._ended = True
            workers = [worker for worker in (self._worker, self._candidate) if worker is not None]
            self._worker = self._candidate = None
            self._dying += workers
            self._changed.notify_all()
        for worker in workers:
            worker.kill()
        self._thread.join(_CLOSE_SECONDS)
        with self._changed:
            self._dying = [worker for worker in self._dying if not worker.gone(_CLOSE_SECONDS)]

    def _share(self) -> float:
        """Return the accelerator's share of the deadline: what the CPU will not need, but half of it at least."""
        deadline = self._limits.deadline
        return max(deadline / 2, deadline - max(2 * self._cpu_seconds, deadline / 10))

    def _ask_cpu(self, canvas: Stored) -> Mapping[int, Stored]:
        began = time.monotonic()
        outputs = self._cpu.run(canvas)
        self._cpu_seconds = time.monotonic() - began
        return outputs

    def _lose(self, worker: Worker, reason: str) -> None:
        """Let go of a worker that failed; the other thread takes it from here."""
        worker.kill()  # It may live, and compute wrongly.
        with self._changed:
            self._worker = None
            self._dying.append(worker)
            if not self._ended:
                self._plan.failed(time.monotonic(), reason)
                self._say(f"the Edge TPU failed: {reason}; the CPU judges until it answers again")
            self._changed.notify_all()

    def _tend(self) -> None:
        looked = 0.0
        while True:
            with self._changed:
                if not self._ended:
                    self._changed.wait(self._pause())
                self._dying = [worker for worker in self._dying if not worker.gone()]
                if self._ended:
                    return
                now = time.monotonic()
                self._held_since = min(self._held_since, now) if self._dying else math.inf
                # One that cannot be ended still has the device; another would only hang beside it.
                step = None if self._dying else self._plan.step(now)
            if now - looked >= _LOOK_SECONDS:
                looked, self._temperature = now, heat.read(self._root).chip
            if step is not None:
                self._try(step)

    def _pause(self) -> float:
        if self._dying:
            return _REAP_SECONDS
        return min(_LOOK_SECONDS, max(0.0, self._plan.due - time.monotonic()))

    def _try(self, step: Step) -> None:
        began = time.monotonic()
        try:
            worker = self._start()
            known = self._open(worker, step)
        except Exception as error:  # noqa: BLE001 - whatever it is, the CPU judges, and the status says why
            self._refuse(str(error) or repr(error))
            return
        with self._changed:
            self._candidate = None
            if not self._ended:
                self._examiner.learn(known, time.monotonic())
                self._worker = worker
                self._plan.opened(time.monotonic())
                self._say(f"the Edge TPU judges; it was opened within {time.monotonic() - began:.1f} s", logging.INFO)
            self._changed.notify_all()

    def _start(self) -> Worker:
        worker = Worker()
        with self._changed:
            if self._ended:
                worker.kill()
                self._dying.append(worker)
                raise AcceleratorError("it is closed")
            self._candidate = worker
        return worker

    def _open(self, worker: Worker, step: Step) -> Mapping[int, Stored]:
        """Have a worker open the model and prove itself, return what it gives for the sample; raises any exception."""
        task, opening = self._task, self._limits.opening
        worker.open(job_for(step, task.job), task.model, task.layout, opening)
        known = worker.run(self._examiner.sample, opening)  # The first run may take long: it moves the weights.
        task.accept(_Candidate(worker, self._share()))
        return known

    def _refuse(self, reason: str) -> None:
        with self._changed:
            if self._candidate is not None:
                self._candidate.kill()
                self._dying.append(self._candidate)
            self._candidate = None
            if not self._ended:
                self._plan.failed(time.monotonic(), reason)
                self._say(f"the Edge TPU cannot be used: {reason}; the CPU judges, and it is tried again")
            self._changed.notify_all()

    def _say(self, text: str, level: int = logging.WARNING) -> None:
        """Log what happened, once however often it happens."""
        if text != self._said:
            log.log(level, "%s", text)
        self._said = text


class _Candidate:
    """A worker as an engine, for the check that it has to pass."""

    def __init__(self, worker: Worker, seconds: float) -> None:
        self._worker = worker
        self._seconds = seconds

    def run(self, canvas: Stored) -> Mapping[int, Stored]:
        """Return a canvas' outputs; raises AcceleratorError."""
        return self._worker.run(canvas, self._seconds)
