"""What the daemon and the accelerator's worker say to each other, over two pipes.

A message is nine bytes, kind, number and length, and then so many bytes as the length says. Its kinds are few and
each has a limit, so that a worker whose memory a driver has spoilt can be disbelieved, but fills no memory. An answer
carries the number of what it answers.
"""

from __future__ import annotations

import os
import select
import struct
import time
from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from edge.errors import AcceleratorError, LateError
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEADER = struct.Struct("<BII")
MAX_TEXT_BYTES = 4096
MAX_FACTS_BYTES = MAX_JOB_BYTES = 1 << 16


class Kind(IntEnum):
    """What a message is: a job, a model and canvases go to the worker, all else comes from it."""

    JOB = 1
    MODEL = 2
    READY = 3
    CANVAS = 4
    OUTPUTS = 5
    TROUBLE = 6
    """In words; the worker ends after it."""


class Job(Record, frozen=True, kw_only=True):
    """What a worker is to open: see edge.config.Runtime for the first four."""

    engine: str
    threads: int
    library: str
    device: str
    reset: bool
    """Whether to reset a USB Edge TPU first."""
    labels: int
    """How many the model has, by which its outputs are told apart."""
    canvas: tuple[int, int]
    """Height and width in pixels."""
    corners: tuple[tuple[int, int], ...]
    """Each tile's (top, left) in pixels."""


class Fact(Record, frozen=True, kw_only=True):
    """One tensor as the worker's interpreter has it, to be compared with the CPU's: edge.tensors.Tensor's fields."""

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


class Facts(Record, frozen=True):
    """What a worker has opened: the input and the outputs that the job asks for."""

    taken: Fact
    given: tuple[Fact, ...]


def decode_facts(data: bytes | bytearray) -> Facts:
    """Read READY's JSON; raises AcceleratorError for anything else."""
    try:
        return msgspec.json.decode(data, type=Facts)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AcceleratorError(f"the accelerator's worker says what nobody understands ({error})") from error


def decode_text(data: bytes | bytearray) -> str:
    """Read TROUBLE's words as one line, whatever the bytes are."""
    return " ".join(data.decode(errors="replace").split())


class Channel:
    """One end of both pipes; its descriptors are made non-blocking, and are its own to close."""

    def __init__(self, reads: int, writes: int) -> None:
        for descriptor in (reads, writes):
            os.set_blocking(descriptor, False)
        self._reads, self._writes = reads, writes
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(reads, select.POLLIN)
        self._writable.register(writes, select.POLLOUT)

    def send(self, kind: Kind, number: int, parts: Sequence[bytes | memoryview], deadline: float | None) -> None:
        """Write one message by `deadline` (time.monotonic(); None: wait for ever); raises AcceleratorError."""
        views = [memoryview(part).cast("B") for part in parts]
        header = HEADER.pack(kind, number, sum(map(len, views)))
        for view in (memoryview(header), *views):
            self._write(view, deadline)

    def receive(self, limits: Mapping[Kind, int], deadline: float | None) -> tuple[Kind, int, bytearray]:
        """Read one message of these kinds, each of so many bytes at most; raises AcceleratorError."""
        kind, number, length = HEADER.unpack(self._read(HEADER.size, deadline))
        known = next((each for each in limits if each == kind), None)
        if known is None:
            raise AcceleratorError(f"a message of kind {kind} comes where none may")
        if length > limits[known]:
            raise AcceleratorError(f"a message of {length} bytes comes where {limits[known]} are the most")
        return known, number, self._read(length, deadline)

    def _write(self, view: memoryview, deadline: float | None) -> None:
        while view:
            try:
                view = view[os.write(self._writes, view) :]
            except BlockingIOError:
                _wait(self._writable, deadline)
            except OSError as error:
                raise AcceleratorError(f"its process does not listen ({error.strerror})") from error

    def _read(self, length: int, deadline: float | None) -> bytearray:
        data = bytearray(length)
        view = memoryview(data)
        while view:
            try:
                count = os.readv(self._reads, [view])
            except BlockingIOError:
                _wait(self._readable, deadline)
            except OSError as error:
                raise AcceleratorError(f"its process cannot be heard ({error.strerror})") from error
            else:
                if not count:
                    raise AcceleratorError("its process went away")
                view = view[count:]
        return data


def _wait(poll: select.poll, deadline: float | None) -> None:
    left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1e3
    if not poll.poll(left):
        raise LateError("it did not answer in time")
