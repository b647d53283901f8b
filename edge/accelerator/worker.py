"""The process that the accelerator runs in: `python -P -m edge.accelerator.worker PARENT`, started by process.py.

It reads a job and a model, opens it with the accelerator's library, and answers canvas after canvas. It ends with the
daemon, whose process id PARENT is: at the end of its input, or by the kernel if it hangs then.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edge.accelerator import coral, wire
from edge.accelerator.wire import Channel, Fact, Facts, Job, Kind
from edge.contract.bundle import MAX_BUNDLE_BYTES
from edge.contract.preprocess import CHANNELS
from edge.engine import InProcess, Layout
from edge.errors import AcceleratorError
from edge.runtime import find_engine
from edge.tensors import the_input, the_outputs

if TYPE_CHECKING:
    from edge.runtime import Interpreter
    from edge.tensors import Tensor

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
"""linux/prctl.h."""


class _Opened:
    """A model on the accelerator, and the one canvas that it takes."""

    def __init__(self, job: Job, model: bytes) -> None:
        """Load it; raises AcceleratorError, or BundleError for a model that is none of this project's."""
        interpreter = _interpreter(job, model)
        taken = the_input(interpreter.get_input_details())
        given = the_outputs(interpreter.get_output_details(), job.labels).all
        layout = Layout(taken=taken, given=given, canvas=job.canvas, corners=job.corners)
        self._engine = InProcess(interpreter, layout)
        self._shape = (*job.canvas, CHANNELS)
        self.bytes = math.prod(self._shape)

    def facts(self) -> bytes:
        """Return what READY says."""
        return msgspec.json.encode(
            Facts(_fact(self._engine.layout.taken), tuple(map(_fact, self._engine.layout.given)))
        )

    def run(self, canvas: bytearray) -> list[memoryview]:
        """Return the outputs' bytes, in the job's order; raises AcceleratorError if the model does not run."""
        stored = np.frombuffer(canvas, self._engine.layout.taken.dtype).reshape(self._shape)
        try:
            outputs = self._engine.run(stored)
        except (ValueError, RuntimeError) as error:
            raise AcceleratorError(f"the Edge TPU fails ({_line_of(error)}); look at its cable and power") from error
        return [np.ascontiguousarray(outputs[tensor.index]).data for tensor in self._engine.layout.given]


def main() -> None:
    """Serve until the daemon is gone; whatever goes wrong is said once and ends this process."""
    _end_with(int(sys.argv[1]))
    channel = _channel()
    try:
        _serve(channel)
    except Exception as error:  # noqa: BLE001 - whatever it is, the daemon should hear of it
        _tell(channel, str(error) or repr(error))
        # At once: a library that failed is not asked to tidy up, which may crash or hang.
        os._exit(1)


def _serve(channel: Channel) -> None:
    opened = _open(channel)
    channel.send(Kind.READY, 0, [opened.facts()], None)
    while True:
        _, number, canvas = channel.receive({Kind.CANVAS: opened.bytes}, None)
        channel.send(Kind.OUTPUTS, number, opened.run(canvas), None)


def _open(channel: Channel) -> _Opened:
    _, _, raw = channel.receive({Kind.JOB: wire.MAX_JOB_BYTES}, None)
    job = msgspec.json.decode(raw, type=Job)
    _, _, model = channel.receive({Kind.MODEL: MAX_BUNDLE_BYTES}, None)
    if job.reset and (trouble := coral.reset(Path("/"))):
        print(f"edge.accelerator: {trouble}", file=sys.stderr)
    return _Opened(job, bytes(model))


def _interpreter(job: Job, model: bytes) -> Interpreter:
    try:
        ctypes.CDLL(job.library)  # First: loading it through the runtime leaves a traceback for one that is not there.
    except OSError as error:
        raise AcceleratorError(f"{job.library} does not load ({error}); install the Edge TPU's library") from error
    _, module = find_engine(job.engine)
    try:
        delegate = module.load_delegate(job.library, {"device": job.device} if job.device else {})
    except ValueError as error:
        raise AcceleratorError(f"no Edge TPU answers ({_line_of(error)}); look at its cable and power") from error
    try:
        interpreter: Interpreter = module.Interpreter(
            model_content=model, num_threads=job.threads, experimental_delegates=[delegate]
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        problem = f"the Edge TPU refuses the model ({_line_of(error)})"
        raise AcceleratorError(f"{problem}; compile it with edge-train compile") from error
    return interpreter


def _line_of(error: Exception) -> str:
    return " ".join(str(error).split())


def _fact(tensor: Tensor) -> Fact:
    return Fact(shape=tensor.shape, dtype=tensor.dtype.name, scale=tensor.scale, zero_point=tensor.zero_point)


def _end_with(parent: int) -> None:
    """Leave no core file, whose writing takes long, and no process behind; the daemon's signals are its own.

    Where memory is short the kernel takes this process, not the daemon (proc(5), oom_score_adj).
    """
    libc: Any = ctypes.CDLL(None)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", "ascii")
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    if os.getppid() != parent:  # It died before the kernel was asked to tell.
        os._exit(1)


def _channel() -> Channel:
    """Take the standard streams for messages alone: what a library prints goes to the log."""
    reads, writes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return Channel(reads, writes)


def _tell(channel: Channel, text: str) -> None:
    words = text.encode(errors="replace")[: wire.MAX_TEXT_BYTES]
    try:
        channel.send(Kind.TROUBLE, 0, [words], None)
    except AcceleratorError:
        os._exit(1)  # The daemon is gone: nobody is left to hear it.


if __name__ == "__main__":
    main()
