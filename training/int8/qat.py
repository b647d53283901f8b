"""Quantization-aware training: the second try for a network that loses too much when it is quantized as it is.

It runs in a process of its own, because it needs the older Keras (tf_keras) and tensorflow-model-optimization.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edge.errors import RuntimeUnavailableError
from training import progress
from training.int8 import flatbuffer, plan

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels
    from training.data.dataset import Integers
    from training.network.model import Network
    from training.recipe import Augmentation

PICTURES = 6_000
"""Seen in all, with repetition."""
_BATCH = 32
_RATE = 1e-4
"""Peak. The network has been trained: it only has to find its way around the rounding."""
_PACKAGES = ("tf_keras", "tensorflow_model_optimization")
_LONGEST_REASON = 300
_PATIENCE = 10
"""Seconds that the worker has to end once it is asked to."""


def retrain(  # noqa: PLR0913 - the arguments are the contract
    network: Network,
    pixels: Pixels,
    truth: Integers | None,
    *,
    augmentation: Augmentation,
    seed: int,
    pictures: int = PICTURES,
    rate: float = _RATE,
) -> bytes:
    """Train a copy of `network` with int8's rounding in it, on pictures uint8 [n, h, w, 3] of its input's size.

    It learns to say what `network` says of each place, and with `truth` (the pictures' classes) what is true. Leave
    that out for tiles, whose own class nobody knows, and for a pooling that is not the mean.

    Returns an int8 model that `flatbuffer.check` passes; `network` stays as it is. Raises RuntimeUnavailableError
    without the packages for it or if the worker dies, InspectError for a layer it does not know, BundleError for a
    result outside of the contract.
    """
    require()
    network_plan, arrays = plan.trace(network.whole)
    job = {
        "seed": seed,
        "pictures": pictures,
        "batch": _BATCH,
        "rate": rate,
        "augmentation": msgspec.to_builtins(augmentation),
    }
    with tempfile.TemporaryDirectory(prefix="edge-train-qat-") as name:
        folder = Path(name)
        plan.write(folder, network_plan, arrays)
        np.save(folder / "pixels.npy", pixels)
        if truth is not None:
            np.save(folder / "truth.npy", truth)
        (folder / "job.json").write_text(json.dumps(job))
        _work(folder, max(1, pictures // int(job["batch"])))
        model = (folder / "model.tflite").read_bytes()
    flatbuffer.check(model)
    return model


def require() -> None:
    """Raise RuntimeUnavailableError unless the packages for quantization-aware training are installed."""
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise RuntimeUnavailableError(
            f"quantization-aware training needs {' and '.join(missing)}: pip install 'edge-inspect[qat]'"
        )


def _work(folder: Path, steps: int) -> None:
    """Run the worker to its end and pass its progress on; whatever ends this ends the worker too."""
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-P", "-W", "ignore", "-m", "training.int8.qat_worker", str(folder)]
    with (
        (folder / "errors.txt").open("w+b") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as worker,
    ):
        try:
            _follow(worker, steps)
            worker.wait()
        finally:
            _end(worker)
        errors.seek(0)
        if worker.returncode:
            raise RuntimeUnavailableError(_reason(worker.returncode, errors.read()))
    if not (folder / "model.tflite").exists():
        raise RuntimeUnavailableError("quantization-aware training ended without a model; try again")


def _follow(worker: Any, steps: int) -> None:
    with progress.stage("retraining for int8", steps) as advance:
        for line in worker.stdout:
            advance(json.loads(line)["note"])


def _end(worker: Any) -> None:
    if worker.poll() is None:
        worker.terminate()
        try:
            worker.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            worker.kill()


def _reason(code: int, errors: bytes) -> str:
    if code < 0:
        return f"quantization-aware training was ended by signal {-code}: is memory short?"
    lines = errors.decode(errors="replace").strip().splitlines() or ["no reason given"]
    return f"quantization-aware training failed ({lines[-1][:_LONGEST_REASON]}); quantize without it, or try again"
