"""Runs edge-train build as a user does, timed; shared by the benchmarks of the training line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from edge.contract import bundle as bundles

DATA = Path(os.environ.get("INSPECT_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
WEIGHTS = DATA / "weights" / "mobilenet_v2_0.35_224_no_top.weights.h5"


class Built(NamedTuple):
    """A finished build: the bundle, seconds by the clock, and seconds of processor time (all cores)."""

    bundle: bundles.Bundle
    wall_s: float
    cpu_s: float


def build(data: Path, out: Path, *options: object) -> Built:
    """Build from the outside weights; raises CalledProcessError with the command's own message on stderr."""
    command = [sys.executable, "-m", "training", "build", "--data", data, "--out", out, "--weights", WEIGHTS, *options]
    started, before = time.monotonic(), os.times()
    with out.with_suffix(".log").open("w") as log:
        subprocess.run([str(part) for part in command], check=True, stdout=log, stderr=subprocess.STDOUT)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Built(bundles.read(out), time.monotonic() - started, cpu)
