"""Quantization-aware training: the second try for a network that loses too much when it is quantized as it is.

It runs in a process of its own, because it needs the older Keras (tf_keras) and tensorflow-model-optimization.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edge.errors import InspectError, RuntimeUnavailableError
from training import cache, progress, scratch
from training.int8 import flatbuffer, plan
from training.network.memory import at_once

if TYPE_CHECKING:
    from pathlib import Path

    from edge.contract.preprocess import Pixels
    from training.data.dataset import Integers
    from training.network.model import Network
    from training.recipe import Augmentation

PICTURES = 6_000
"""Seen in all, with repetition."""
_BATCH = 32
"""Fewer if memory holds fewer."""
_STEP_BYTES = 2 << 30
"""That a step's layers may give in all, in one of teacher and student. Measured at 736 x 544 pixels, which makes that
6 pictures in MobileNetV2 0.35: the worker takes 2.5 GB at most; 1.9 GB with the 32 pictures of 224 that fit."""
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
    without the packages for it or if the worker dies, InspectError for a layer it does not know or if the cache has no
    room for the pictures, BundleError for a result outside of the contract.
    """
    require()
    batch = _batch(network)
    job = {
        "seed": seed,
        "pictures": pictures,
        "batch": batch,
        "rate": rate,
        "augmentation": msgspec.to_builtins(augmentation),
    }
    with scratch.folder(pixels.nbytes) as folder:
        _write(folder, network, pixels, truth, job)
        _work(folder, max(1, pictures // batch))
        model = (folder / "model.tflite").read_bytes()
    flatbuffer.check(model)
    return model


def require() -> None:
    """Raise RuntimeUnavailableError unless the packages for quantization-aware training are installed."""
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise RuntimeUnavailableError(
            f"quantization-aware training needs {' and '.join(missing)}: pip install 'edge-inspect[qat]'"
        )


def _batch(network: Network) -> int:
    """Return how many pictures a step takes."""
    parts = [network.trunk, network.tail, network.head]
    return min(_BATCH, at_once(parts, [(1, *network.whole.input.shape[1:])], _STEP_BYTES))


def _write(folder: Path, network: Network, pixels: Pixels, truth: Integers | None, job: dict[str, Any]) -> None:
    """Write what the worker reads; raises InspectError if there is no room for it."""
    try:
        plan.write(folder, *plan.trace(network.whole))
        with (folder / "pixels.npy").open("wb") as file:
            # As numpy.save does, whose own error does not say that the disk is full.
            header = {"descr": pixels.dtype.str, "fortran_order": False, "shape": pixels.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for picture in pixels:
                file.write(np.ascontiguousarray(picture).data)
        if truth is not None:
            np.save(folder / "truth.npy", truth)
        (folder / "job.json").write_text(json.dumps(job))
    except OSError as error:
        raise InspectError(cache.told(error, pixels.nbytes)) from error


def _work(folder: Path, steps: int) -> None:
    """Run the worker to its end and pass its progress on; whatever ends this ends the worker too."""
    with (folder / "errors.txt").open("w+b") as errors, _start(folder, errors) as worker:
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


def _start(folder: Path, errors: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-P", "-W", "ignore", "-m", "training.int8.qat_worker", str(folder)]
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
    except OSError as error:
        raise RuntimeUnavailableError(
            f"quantization-aware training cannot be started ({error.strerror}); end other programs, then try again"
        ) from error


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
        return (
            f"quantization-aware training was ended by signal {-code}: "
            "is memory short? end other programs, or take a smaller size"
        )
    lines = errors.decode(errors="replace").strip().splitlines() or ["no reason given"]
    return f"quantization-aware training failed ({lines[-1][:_LONGEST_REASON]}); quantize without it, or try again"
