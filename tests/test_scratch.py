"""Large arrays cost disk and not memory; each truth is shown by a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from edge.errors import InspectError
from training import cache, scratch, sealed

_LIMITED = """
import resource
import threading
from functools import partial
from pathlib import Path

import numpy as np

from edge.contract.bundle import Label
from edge.errors import DataError
from training import inputs, scratch
from training.data import dataset
from training.data.dataset import Source
from training.recipe import Model, Recipe

threading.stack_size(256 << 10)  # However many threads read: the machine's cores say.

def load(number):
    if number in broken:
        raise DataError("broken")
    return np.random.default_rng(number).integers(256, size=(8, 8, 3), dtype=np.uint8)

broken = (3, 77)
sources = [Source(f"{number % 2}/{number:03}", number % 2, partial(load, number)) for number in range(240)]
labels = (Label(name="0", verdict="PASS"), Label(name="1", verdict="DEFECT"))
given = inputs.Inputs(
    labels=labels, folder=Path("data"), sources=sources, skip_bad=True,
    extra=[Source(f"{number % 2}/{number}", number % 2, partial(load, number)) for number in range(500, 510)],
)
small, large = (Recipe(model=Model(height=side, width=side)) for side in (32, 384))
given.divide(small).learnable(50, seed=1)  # Whatever is loaded and started, is now.
scratch.MOST_IN_MEMORY = 1 << 20
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")) << 10
# What a process has for itself alone: pages of a file that others might see too are not counted.
resource.setrlimit(resource.RLIMIT_DATA, (used + (30 << 20), resource.RLIM_INFINITY))
divided = given.divide(large)
some, groups = divided.learnable(100, seed=1)
data = divided.whole()
assert data.pixels.nbytes == 238 * 384 * 384 * 3 > 100e6
place = {source.name: row for row, source in enumerate(data.sources)}
for part in (*divided.dealt, some):
    assert all(np.array_equal(part.pixels[row], data.pixels[place[s.name]]) for row, s in enumerate(part.sources))
assert len(divided.parts.train.pixels) == len(divided.dealt.train.pixels) + 10
try:
    np.ones(data.pixels.nbytes, np.uint8)  # What they would have taken is more than there is.
except MemoryError:
    print("done")
"""
_FULL = """
import sys
import numpy as np
from edge.command import run_command
from training import scratch

def fill():
    scratch.empty(({count},), np.float16)[:] = 1
    return 0

sys.exit(run_command("edge-train", fill))
"""


def run(code: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120, env=environment
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits and tells what memory a process has alone")
def test_pictures_are_read_and_divided_in_little_memory(tmp_path: Path) -> None:
    """A process that may take 30 MB more reads, divides and joins 100 MB of pictures, and leaves no file behind."""
    done = run(_LIMITED, tmp_path)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_full_disk_is_one_clear_line(little: Path) -> None:
    """What there is no room for is refused before it is written to: the folder, the need and the remedy, no signal."""
    code = f"from training import scratch\nscratch.MOST_IN_MEMORY = 1 << 20\n{_FULL}"
    assert run(code.format(count=4 << 20), little).returncode == 0
    full = run(code.format(count=20 << 20), little)
    assert full.returncode == 1
    assert full.stderr == (
        f"edge-train: {little}/edge-inspect: no room for 42 MB of working data (No space left on device); "
        "make room there, or let XDG_CACHE_HOME name a folder on a larger disk\n"
    )
    assert shutil.disk_usage(little).used < 1 << 20


def test_a_disk_that_is_not_full_is_not_called_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where nothing can be written, room is not what is missing: the line says so, as for all other files there."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(scratch, "MOST_IN_MEMORY", 10)
    with pytest.raises(InspectError) as error:
        scratch.empty((20,), np.uint8)
    with pytest.raises(InspectError) as other:
        sealed.save(cache.folder("a"), b"x")
    assert str(error.value) == str(other.value)
    assert str(error.value) == (
        f"{tmp_path}/file/edge-inspect cannot be written (Not a directory); "
        "make it a folder to write to, or let XDG_CACHE_HOME name another one"
    )


def test_large_and_small_arrays_are_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rows are joined in order, in memory or not; what is alone is not copied; the type is always numpy's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, two = np.arange(12).reshape(3, 4), np.arange(12, 20).reshape(2, 4)
    assert scratch.joined([one]) is one
    for most in (scratch.MOST_IN_MEMORY, 10):
        monkeypatch.setattr(scratch, "MOST_IN_MEMORY", most)
        found = scratch.joined([one, two])
        assert type(found) is np.ndarray
        assert np.array_equal(found, np.arange(20).reshape(5, 4))
        assert scratch.empty((0, 3), np.uint8).shape == (0, 3)
    assert (tmp_path / "edge-inspect").is_dir()


_KEEPS_A_FOLDER = """
import signal
from training import scratch

with scratch.folder(1) as folder:
    (folder / "pixels").write_bytes(bytes(100))
    print(folder, flush=True)
    input()
"""


def test_a_folder_goes_with_its_process_or_with_the_next_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a killed process left is removed by whoever makes a folder next; those in use stay until their end."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _KEEPS_A_FOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(2)
        ]
        killed, used = (Path(process.stdout.readline().strip()) for process in processes if process.stdout)
        processes[0].kill()
        processes[0].wait()
        assert killed.is_dir()
        with scratch.folder(1) as mine:
            assert mine.parent == used.parent == cache.folder("scratch")
            assert [killed.exists(), used.exists(), mine.exists()] == [False, True, True]
        assert [(used / "pixels").exists(), mine.exists()] == [True, False]
        processes[1].communicate("\n")
        assert not used.exists()


def test_a_folder_that_cannot_be_made_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cache and the remedy, as for every file there."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InspectError, match=r"file/edge-inspect cannot be written \(Not a"), scratch.folder(1):
        pass
