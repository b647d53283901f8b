"""Runs edge-train build as a user does, timed; shared by the benchmarks of the training line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.contract import bundle as bundles

DATA = Path(os.environ.get("INSPECT_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
NEU = DATA / "datasets" / "neu-det"
_WEIGHTS = {alpha: DATA / "weights" / f"mobilenet_v2_{alpha}_224_no_top.weights.h5" for alpha in (0.35, 1.0)}
"""ImageNet's, of MobileNetV2."""


@dataclass(frozen=True, slots=True)
class Built:
    """A finished build, seconds by the clock, seconds of processor time (all cores), and the most MiB resident."""

    bundle: bundles.Bundle
    wall_s: float
    cpu_s: float
    peak_mib: float
    log: str

    @property
    def metrics(self) -> dict[str, float]:
        """The manifest's."""
        return self.bundle.manifest.metrics

    @property
    def report(self) -> dict[str, Any]:
        """What report.json says."""
        found: dict[str, Any] = json.loads(self.bundle.files["report.json"])
        return found


def weights(alpha: float) -> Path:
    """Return the file that a build of this width starts from."""
    return _WEIGHTS[alpha]


def build(data: Path, out: Path, *options: object, alpha: float = 0.35, cache: Path | None = None) -> Built:
    """Build from the outside weights; raises CalledProcessError with the command's own message on stderr.

    `cache` is the folder that features are kept in; None: the user's.
    """
    command = [
        *(sys.executable, "-m", "training", "build", "--data", data, "--out", out),
        *("--weights", weights(alpha), "--alpha", alpha, *options),
    ]
    environment = {**os.environ, **({"XDG_CACHE_HOME": str(cache)} if cache else {})}
    started = time.monotonic()
    log = out.with_suffix(".log")
    with log.open("w") as file:
        process = subprocess.Popen([str(part) for part in command], stdout=file, stderr=file, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.stderr.write(log.read_text())
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Built(
        bundle=bundles.read(out),
        wall_s=time.monotonic() - started,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,
        log=log.read_text(),
    )
