"""What the guard costs a frame: milliseconds on one core, by the frame's size, and the memory it adds.

python tests/benchmarks/guard.py [--frames 200]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge.camera.base import Frame
from edge.contract.preprocess import PreprocessSpec, preprocess
from edge.health import rss_mib
from edge.sections.cameras import FolderConfig
from edge.synthetic import render

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels

SIZES = ((480, 640), (720, 1280), (1080, 1920), (3040, 4056))
"""Height and width in pixels; the last is the Raspberry Pi HQ camera's."""


def main() -> None:
    """Print a line for each size, with the checks that need no baseline, with all, and with the empty fixture known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200)
    count = parser.parse_args().frames
    _report_memory()
    for height, width in SIZES:
        pixels = render(1, 0, height=height, width=width, label="intact").pixels
        frames = [_noisy(pixels, seed) for seed in range(4)]
        found = " ".join(f"{name} {ms:6.2f} ms" for name, ms in _times(frames, count).items())
        print(f"{width:>4} x {height:<4} {found}", flush=True)


def _noisy(pixels: Pixels, seed: int) -> Frame:
    noise = np.random.default_rng(seed).integers(-2, 3, pixels.shape[:2], np.int8)[..., np.newaxis]
    return Frame(seed, "", 0.0, np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _times(frames: list[Frame], count: int) -> dict[str, float]:
    """Return the median time of `inspect` in milliseconds."""
    from edge.guard.baseline import learn
    from edge.guard.guard import Guard
    from edge.guard.measures import measure
    from edge.sections.guard import Guard as Rules

    measured = [measure(frame.pixels, frame.order) for frame in frames]
    baseline = learn(FolderConfig(path=Path()), frames[0].pixels.shape[:2], measured)
    with_empty = msgspec.structs.replace(baseline, empty=bytes(len(baseline.part)))
    guards = {"no baseline": None, "baseline": baseline, "with the empty fixture": with_empty}
    times = {}
    for name, known in guards.items():
        guard = Guard(Rules(), known, still_s=0)
        took = []
        for number in range(count):
            started = time.perf_counter()
            fitness = guard.inspect(frames[number % len(frames)])
            took.append(1e3 * (time.perf_counter() - started))
            assert not fitness.reason, fitness.reason  # One that is would cost less.
        times[name] = statistics.median(took)
    return times


def _report_memory() -> None:
    """Print what the guard adds to a process that prepares frames for a model, as the daemon's does."""
    pixels = render(1, 0, height=720, width=1280, label="intact").pixels
    preprocess(pixels, PreprocessSpec(), height=224, width=224)
    before = rss_mib()
    _times([_noisy(pixels, seed) for seed in range(4)], 20)
    print(f"the guard, its baseline and frames of 1280 x 720 add {rss_mib() - before:.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
