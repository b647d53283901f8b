from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hostile
import numpy as np
import pytest
from tiny_parts import make_folder, read_folder

from edge.errors import BundleError, InspectError, RuntimeUnavailableError
from edge.runtime import open_interpreter
from edge.sections.runtime import Runtime
from training import backend, cache
from training.int8 import flatbuffer, gate, qat
from training.recipe import Augmentation, Model, Recipe

if TYPE_CHECKING:
    from training.data.dataset import Dataset

HAS_PACKAGES = True
try:
    qat.require()
except RuntimeUnavailableError:
    HAS_PACKAGES = False
needs_packages = pytest.mark.skipif(not HAS_PACKAGES, reason="pip install 'edge-inspect[qat]'")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pictures to train with."""
    backend.start(1)
    return read_folder(make_folder(tmp_path_factory.mktemp("parts"), each=40))


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pictures to compare on."""
    return read_folder(make_folder(tmp_path_factory.mktemp("held"), each=40, start=1000))


@pytest.fixture(scope="module")
def network(data: Dataset) -> Any:
    """A network that float computes well, with one layer that is hostile to int8."""
    made = hostile.build(32, 3)
    hostile.train(made, data)
    hostile.spoil(made)
    return made


def float_logits(network: Any, data: Dataset) -> gate.Floats:
    """Return the float network's logits."""
    from training.network.model import normalise

    found: gate.Floats = network.whole(normalise(data.pixels), training=False)["logits"].numpy()
    return found


def int8_logits(model: bytes, data: Dataset) -> gate.Floats:
    """Return an int8 model's logits on LiteRT."""
    interpreter = open_interpreter(model, Runtime()).interpreter
    out = interpreter.get_output_details()[-1]
    scale, zero = out["quantization"]
    found = []
    for picture in data.pixels:
        interpreter.set_tensor(
            interpreter.get_input_details()[0]["index"], (picture ^ np.uint8(128)).view(np.int8)[None]
        )
        interpreter.invoke()
        found.append(scale * (interpreter.get_tensor(out["index"])[0].astype(np.float32) - zero))
    return np.array(found, np.float32)


@needs_packages
def test_a_hostile_layer_is_caught_by_the_gate_and_mended_by_retraining(
    network: Any, data: Dataset, held: Dataset
) -> None:
    """Float is right, quantized as it is the network loses whole classes and is refused, retrained it loses nothing."""
    from training.int8 import quantize

    before = float_logits(network, held)
    plain = gate.compare(held.truth, before, int8_logits(quantize.quantize(network, data, seed=1), held), held.labels)
    assert min(row.recall_float for row in plain.classes) >= 0.95
    assert min(row.recall_int8 for row in plain.classes) <= 0.2
    with pytest.raises(BundleError, match=r"int8 costs \w.* more recall than the allowed 1 points on litert"):
        gate.require({"litert": plain})

    model = qat.retrain(network, data.pixels, data.truth, augmentation=Augmentation(), seed=1, pictures=320)
    mended = gate.compare(held.truth, before, int8_logits(model, held), held.labels)
    gate.require({"litert": mended})
    assert [path for path in cache.folder("scratch").rglob("*") if path.name != "lock"] == []
    assert flatbuffer.inspect(model) == []
    assert np.array_equal(float_logits(network, held), before)


@needs_packages
def test_a_worker_that_fails_ends_in_one_line(tmp_path: Path) -> None:
    """What went wrong in the other process is told in its last line, and the command's own error says what to do."""
    with pytest.raises(RuntimeUnavailableError, match=r"failed \(.*job.json.*\); quantize without it") as error:
        qat._work(tmp_path, 1)
    assert "\n" not in str(error.value)


def test_a_worker_that_is_killed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So Linux ends what takes too much memory: the line tells of the signal, and what to do."""
    package = tmp_path / "training" / "int8"
    package.mkdir(parents=True)
    for place in (package.parent, package):
        (place / "__init__.py").touch()
    (package / "qat_worker.py").write_text("import os; os.kill(os.getpid(), 9)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeUnavailableError, match=r"ended by signal 9: is memory short\? end other programs, or"):
        qat._work(tmp_path, 1)


def test_a_worker_that_cannot_be_started_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is where the system has no room for another process."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    with pytest.raises(RuntimeUnavailableError, match=r"cannot be started \(No such file.*\); end other programs"):
        qat._work(tmp_path, 1)


@needs_packages
def test_a_disk_too_small_for_the_pictures_is_one_line(
    network: Any, little: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written below the cache, picture by picture; without room there nothing of them stays."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(little))
    pixels = np.broadcast_to(np.zeros((32, 32, 3), np.uint8), (7000, 32, 32, 3))
    with pytest.raises(InspectError, match=r"little/edge-inspect: no room for 22 MB of working data \(No space left"):
        qat.retrain(network, pixels, None, augmentation=Augmentation(), seed=1)
    assert shutil.disk_usage(little).used < 1 << 20


def test_a_step_takes_32_pictures_where_memory_holds_them() -> None:
    """The size that builds use by default is taught as ever, large pictures a few at a time, any size at all."""
    from training.network import model

    backend.start(1)
    recipes = [Recipe(model=Model(height=height, width=width)) for height, width in ((224, 224), (736, 544))]
    assert [qat._batch(model.build(3, recipe, None)) for recipe in recipes] == [32, 6]


def test_without_the_packages_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package is named with the extra that brings it, before anything is computed."""
    monkeypatch.setattr(qat, "_PACKAGES", ("no_such_package",))
    with pytest.raises(RuntimeUnavailableError, match=r"needs no_such_package: pip install 'edge-inspect\[qat\]'"):
        qat.retrain(None, None, None, augmentation=Augmentation(), seed=1)  # type: ignore[arg-type]


@needs_packages
def test_an_interrupt_ends_the_worker(network: Any, data: Dataset, tmp_path: Path) -> None:
    """Ctrl-C while the other process trains, here without the pictures' classes, leaves no process behind."""
    from training.int8 import plan

    steps, arrays = plan.trace(network.whole)
    plan.write(tmp_path, steps, arrays)
    np.save(tmp_path / "pixels.npy", data.pixels)
    job = '{"seed": 1, "pictures": 3200000, "batch": 32, "rate": 1e-4, "augmentation": {}}'
    (tmp_path / "job.json").write_text(job)
    code = f"from pathlib import Path; from training.int8 import qat; qat._work(Path({str(tmp_path)!r}), 100000)"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stderr is not None
        assert "retraining for int8 1/100000: loss" in parent.stderr.readline()
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        parent.send_signal(signal.SIGINT)
        parent.communicate()
    assert len(children) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(children[0]), 0)
