"""What the daemon believes of a worker: nothing that is not of the form, the size and the number that it waits for."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from accelerators import children, descriptors
from hypothesis import given
from hypothesis import strategies as st

from edge.accelerator import wire
from edge.accelerator.process import Worker
from edge.accelerator.wire import HEADER, Channel, Job, Kind
from edge.engine import Layout
from edge.errors import AcceleratorError, LateError
from edge.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIMITS: Mapping[Kind, int] = {Kind.OUTPUTS: 100, Kind.TROUBLE: wire.MAX_TEXT_BYTES}
INPUT = Tensor(0, (1, 32, 32, 3), np.dtype(np.int8), 1 / 128, 0)
OUTPUT = Tensor(7, (1, 2), np.dtype(np.int8), 0.5, 3)
LAYOUT = Layout(taken=INPUT, given=(OUTPUT,), canvas=(32, 48), corners=((0, 0), (0, 16)))
JOB = Job(
    engine="auto", threads=1, library="", device="", reset=False, labels=2, canvas=(32, 48), corners=((0, 0), (0, 16))
)
READY = (
    '{"taken":{"shape":[1,32,32,3],"dtype":"int8","scale":0.0078125,"zero_point":0},'
    '"given":[{"shape":[1,2],"dtype":"int8","scale":0.5,"zero_point":3}]}'
)
LIAR = """
import os, struct, sys, time
def read(n):
    data = b""
    while len(data) < n:
        more = os.read(0, n - len(data))
        if not more: raise SystemExit
        data += more
    return data
def heard():
    kind, number, length = struct.unpack("<BII", read(9))
    read(length)
    return number
def say(kind, number, body, length=None):
    os.write(1, struct.pack("<BII", kind, number, len(body) if length is None else length) + body)
heard(), heard()
say(3, 0, READY)
number = heard()
{lie}
time.sleep(600)
"""


def liar(lie: str) -> str:
    """A worker that opens as it should, and then answers its first canvas so."""
    return LIAR.replace("{lie}", lie).replace("READY", f"b'{READY}'")


class Pipe:
    """A channel, and the other side's ends of its pipes."""

    def __init__(self) -> None:
        self.from_here, self._read = os.pipe()[::-1]
        self.to_here, self._write = os.pipe()
        self.channel = Channel(self._read, self._write)

    def hang_up(self) -> None:
        os.close(self.from_here)

    def close(self) -> None:
        for each in (self.from_here, self.to_here, self._read, self._write):
            with suppress(OSError):
                os.close(each)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """One of its own for each test."""
    made = Pipe()
    yield made
    made.close()


def soon() -> float:
    return time.monotonic() + 20


def test_a_message_larger_than_a_pipe_arrives_whole(pipe: Pipe) -> None:
    """Kind, number and all parts, whatever the pipe holds at once."""
    parts = [b"head", np.arange(1 << 12, dtype=np.uint32).data]
    body = b"head" + np.arange(1 << 12, dtype=np.uint32).tobytes()
    loop = Channel(pipe.to_here, os.dup(pipe._write))
    loop.send(Kind.CANVAS, 4_000_000_000, parts, soon())
    assert loop.receive({Kind.CANVAS: len(body)}, soon()) == (Kind.CANVAS, 4_000_000_000, bytearray(body))


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(content: bytes) -> None:
    """Whatever a worker writes before it goes away is a message of the form and within its limit, or one error."""
    pipe = Pipe()
    os.write(pipe.from_here, content)
    pipe.hang_up()
    try:
        kind, number, body = pipe.channel.receive(LIMITS, soon())
    except AcceleratorError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert content.startswith(HEADER.pack(kind, number, len(body)) + body)
        assert len(body) <= LIMITS[kind]
    finally:
        pipe.close()


@given(st.binary(max_size=200) | st.sampled_from([READY.encode()[:n] for n in range(len(READY))]))
def test_facts_are_of_the_form_or_refused(content: bytes) -> None:
    """What is no JSON of tensors is an AcceleratorError."""
    with pytest.raises(AcceleratorError, match="says what nobody understands"):
        wire.decode_facts(content)


def test_a_length_is_refused_before_it_is_made_room_for(pipe: Pipe) -> None:
    """A worker that announces four gigabytes gets no memory."""
    os.write(pipe.from_here, HEADER.pack(Kind.OUTPUTS, 1, 0xFFFFFFFF))
    with pytest.raises(AcceleratorError, match="a message of 4294967295 bytes comes where 100 are the most"):
        pipe.channel.receive(LIMITS, soon())


def test_silence_ends_at_the_deadline(pipe: Pipe) -> None:
    """Nothing, and half a message, are waited for until then and no longer."""
    for content in (b"", HEADER.pack(Kind.OUTPUTS, 1, 50) + b"half"):
        os.write(pipe.from_here, content)
        began = time.monotonic()
        with pytest.raises(LateError):
            pipe.channel.receive(LIMITS, began + 0.1)
        assert 0.1 <= time.monotonic() - began < 5


def test_a_pipe_that_nobody_reads_ends_at_the_deadline(pipe: Pipe) -> None:
    """A worker that does not take what it is sent holds nobody up for longer."""
    with pytest.raises(LateError):
        pipe.channel.send(Kind.CANVAS, 1, [bytes(1 << 20)], time.monotonic() + 0.1)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ("say(5, number, bytes(3))", "an answer to something else came"),
        ("say(5, number + 1, bytes(4))", "an answer to something else came"),
        ("say(5, number, b'', 1 << 30)", "a message of 1073741824 bytes comes where 4 are the most"),
        ("say(3, number, READY)", "a message of kind 3 comes where none may"),
        ("say(255, number, b'')", "a message of kind 255 comes where none may"),
        ("say(6, 0, b'it burns\\n\\xff')", "it burns �"),
        ("os._exit(0)", "its process went away"),
        ("os.kill(os.getpid(), 9)", "the Edge TPU's process was killed: is memory short?"),
        ("os.kill(os.getpid(), 6)", r"the Edge TPU's library died of signal 6 \(Aborted\)"),
        ("os.kill(os.getpid(), 40)", r"the Edge TPU's library died of signal 40 \("),
        ("[(os.write(1, b'\\x05'), time.sleep(0.2)) for _ in range(100)]", "did not answer within 700 ms"),
        ("os.close(0)\nwhile True: time.sleep(1)", "did not answer within 700 ms"),
    ],
)
def test_a_worker_that_lies_is_killed(lie: str, reason: str) -> None:
    """An answer of another size, number or kind, or none, is an error that says so, and the process is gone."""
    before = descriptors()
    worker = Worker("-c", liar(lie))
    worker.open(JOB, b"model", LAYOUT, 20)
    with pytest.raises(AcceleratorError, match=reason):
        worker.run(np.zeros((32, 48, 3), np.int8), 0.7)
    assert worker.gone(20)
    assert children() == {}
    assert descriptors() == before


def test_a_worker_that_answers_is_believed() -> None:
    """The bytes are the outputs, by the CPU's indices, a row for each tile."""
    worker = Worker("-c", liar("say(5, number, bytes([1, 2, 3, 255]))"))
    worker.open(JOB, b"model", LAYOUT, 20)
    found = worker.run(np.zeros((32, 48, 3), np.int8), 20)
    assert {index: rows.tolist() for index, rows in found.items()} == {7: [[1, 2], [3, -1]]}
    worker.kill()
    assert worker.gone(20)


def test_outputs_of_several_types_are_told_apart() -> None:
    """Of an output of floats after one of bytes each element is where it was, for every tile."""
    other = Tensor(9, (1, 1), np.dtype(np.float32), 0.0, 0)
    ready = READY.replace("]}", ',{"shape":[1,1],"dtype":"float32","scale":0,"zero_point":0}]}')
    body = bytes([1, 2, 3, 255]) + np.array([0.5, -2], np.float32).tobytes()
    worker = Worker("-c", liar(f"say(5, number, {body!r})").replace(READY, ready))
    worker.open(JOB, b"model", msgspec.structs.replace(LAYOUT, given=(OUTPUT, other)), 20)
    found = worker.run(np.zeros((32, 48, 3), np.int8), 20)
    assert {index: rows.tolist() for index, rows in found.items()} == {7: [[1, 2], [3, -1]], 9: [[0.5], [-2.0]]}
    worker.kill()
    assert worker.gone(20)
