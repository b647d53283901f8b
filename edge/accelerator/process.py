"""The daemon's side of one worker process: starts it, asks it in bounded time, and ends it for certain."""

from __future__ import annotations

import fcntl
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge.accelerator import wire
from edge.accelerator.wire import Channel, Kind
from edge.errors import AcceleratorError, LateError
from edge.health import rss_mib

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge.accelerator.wire import Fact, Job
    from edge.engine import Layout, Stored
    from edge.tensors import Tensor

_PIPE_BYTES = 1 << 20
"""What an ordinary user may have (/proc/sys/fs/pipe-max-size): most canvases fit in it at once."""
_DEATH_SECONDS = 0.05
"""For the kernel to take down a process that has closed its pipes: its memory, all but its entry, is gone by then."""


class Worker:
    """One process with the bundle's accelerated model. One thread asks it; any may kill it.

    Every method that fails has killed it and raises AcceleratorError.
    """

    def __init__(self, *program: str) -> None:
        """Start the process, which waits for `open`; `program` is Python's arguments in place of this project's."""
        # -P: no module is taken from the working folder, which may be a stranger's bundle.
        command = [sys.executable, "-P", *(program or ("-m", "edge.accelerator.worker")), str(os.getpid())]
        try:
            self._process = subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise AcceleratorError(f"the accelerator's process cannot be started ({error})") from error
        assert self._process.stdin is not None  # noqa: S101 - for mypy: both are pipes
        assert self._process.stdout is not None  # noqa: S101
        with suppress(OSError):  # Only slower without.
            fcntl.fcntl(self._process.stdin, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self.id = self._process.pid
        self._channel = Channel(self._process.stdout.fileno(), self._process.stdin.fileno())
        self._given: Sequence[Tensor] = ()
        self._tiles = 0
        self._number = 0

    def open(self, job: Job, model: bytes, layout: Layout, seconds: float) -> None:
        """Have the model opened within `seconds`; it must take and give what the CPU's does, as `layout` says."""
        deadline = time.monotonic() + seconds
        try:
            self._channel.send(Kind.JOB, 0, [msgspec.json.encode(job)], deadline)
            self._channel.send(Kind.MODEL, 0, [model], deadline)
            facts = wire.decode_facts(self._receive(Kind.READY, wire.MAX_FACTS_BYTES, 0, deadline))
            _require_same([layout.taken, *layout.given], [facts.taken, *facts.given])
        except AcceleratorError as error:
            raise self._failure(error, seconds) from error
        self._given = layout.given
        self._tiles = len(job.corners)

    def run(self, canvas: Stored, seconds: float) -> Mapping[int, Stored]:
        """Return the outputs of a canvas as edge.engine.Engine does, within `seconds`."""
        deadline = time.monotonic() + seconds
        self._number = (self._number + 1) % (1 << 32)
        shapes = [(self._tiles, *tensor.shape[1:]) for tensor in self._given]
        counts = [math.prod(shape) for shape in shapes]
        sizes = [count * tensor.dtype.itemsize for count, tensor in zip(counts, self._given, strict=True)]
        try:
            self._channel.send(Kind.CANVAS, self._number, [np.ascontiguousarray(canvas).data], deadline)
            data = self._receive(Kind.OUTPUTS, sum(sizes), self._number, deadline)
        except AcceleratorError as error:
            raise self._failure(error, seconds) from error
        outputs, start = {}, 0
        for tensor, shape, count, size in zip(self._given, shapes, counts, sizes, strict=True):
            outputs[tensor.index] = np.frombuffer(data, tensor.dtype, count, start).reshape(shape)
            start += size
        return outputs

    def kill(self) -> None:
        """End it, whatever it does; nothing is waited for: a process in a driver dies when the driver lets it."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def gone(self, seconds: float = 0.0) -> bool:
        """Say whether a killed process is taken down within `seconds`; its pipes are closed then too."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return True

    def rss_mib(self) -> float:
        """Return its resident memory in MiB; 0 when it is gone."""
        try:
            return rss_mib(self._process.pid)
        except OSError:
            return 0.0

    def _receive(self, kind: Kind, size: int, number: int, deadline: float) -> bytearray:
        """Return the body of the one message that may come now; raises AcceleratorError, the worker's words too."""
        found, answered, body = self._channel.receive({kind: size, Kind.TROUBLE: wire.MAX_TEXT_BYTES}, deadline)
        if found is Kind.TROUBLE:
            raise AcceleratorError(wire.decode_text(body))
        if answered != number or (kind is Kind.OUTPUTS and len(body) != size):
            raise AcceleratorError("an answer to something else came")
        return body

    def _failure(self, error: AcceleratorError, seconds: float) -> AcceleratorError:
        """Kill the process, and return why it was of no use: how it died says more than that its pipe broke."""
        if isinstance(error, LateError):
            self.kill()
            return LateError(f"the Edge TPU did not answer within {seconds * 1e3:.0f} ms")
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_DEATH_SECONDS)
            if code == -signal.SIGKILL:  # No library does that: the kernel does when memory is short.
                return AcceleratorError("the Edge TPU's process was killed: is memory short?")
            if code < 0:
                return AcceleratorError(f"the Edge TPU's library died of signal {-code} ({signal.strsignal(-code)})")
        self.kill()
        return error


def _require_same(tensors: Sequence[Tensor], facts: Sequence[Fact]) -> None:
    ours = [(tensor.shape, tensor.dtype.name, tensor.scale, tensor.zero_point) for tensor in tensors]
    theirs = [(fact.shape, fact.dtype, fact.scale, fact.zero_point) for fact in facts]
    if ours != theirs:
        problem = "model_edgetpu.tflite takes or gives other tensors than model.tflite"
        raise AcceleratorError(f"{problem}; compile it again with edge-train compile")
