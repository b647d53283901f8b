"""A stand-in for an Edge TPU's library, compiled here, and bundles for it."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from bundle_samples import MANIFEST
from PIL import Image
from tiny_models import patch_model

from edge.accelerator.accelerated import Limits, accelerate
from edge.accelerator.plan import Pace
from edge.classifier import Classifier
from edge.contract.bundle import EDGE_TPU_MODEL, MODEL, Bundle
from edge.contract.preprocess import PreprocessSpec, Tiles
from edge.golden import EXPECTED, GOLDEN
from edge.sections.runtime import Runtime

if TYPE_CHECKING:
    from edge.accelerator.accelerated import Accelerated
    from edge.contract.preprocess import Pixels

SIDE, CELL = 64, 32
FRAME: Pixels = np.random.default_rng(5).integers(0, 256, (80, 160, 3), np.uint8)
SPEC = PreprocessSpec(tiles=Tiles(columns=2, overlap=0.5))
"""Two tiles that share half."""
WARMING = 1 + 2 * 2
"""Invokes before the first frame of a line: see `bundle`; the first canvas is the sample, and each has two tiles."""

PATIENCE = 60.0
"""Seconds for what takes a tenth of one on an idle machine."""


class Standin:
    """The library, and the file that says how it behaves."""

    def __init__(self, library: Path, says: Path) -> None:
        self.library, self.says = library, says
        self.behave("works")

    def behave(self, how: str) -> None:
        """Behave so from the next load or invoke on; see standin_edgetpu.c."""
        fresh = self.says.with_suffix(".new")
        fresh.write_text(how)
        fresh.replace(self.says)

    def settings(self, **runtime: Any) -> Runtime:
        """What a device's [runtime] says of it."""
        return Runtime(accelerator="edgetpu", library=str(self.library), **runtime)


def compile_standin(folder: Path) -> Path:
    """Return the library; skips where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: apt-get install gcc libc6-dev")
    library = folder / "libstandin.so"
    source = Path(__file__).with_name("standin_edgetpu.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", library, source], check=True)
    return library


def bundle(side: int = SIDE, spec: PreprocessSpec = SPEC) -> Bundle:
    """Make a bundle of two tiles with a golden frame, and a twin of its model for the stand-in."""
    files = {
        MODEL: patch_model(side, side, CELL),
        EDGE_TPU_MODEL: patch_model(side, side, CELL, custom="edgetpu-custom-op"),
    }
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    made = msgspec.structs.replace(MANIFEST, files=hashes, preprocess=spec, golden_tolerance=0.02)
    bare = Bundle(None, made, "", files)  # type: ignore[arg-type] - it lies nowhere
    scores = Classifier(bare).classify(FRAME).scores.tolist()
    names = [label.name for label in made.labels]
    picture = io.BytesIO()
    Image.fromarray(FRAME).save(picture, "PNG")
    golden = {"0.png": dict(zip(names, scores, strict=True))}
    files |= {GOLDEN + "0.png": picture.getvalue(), EXPECTED: msgspec.json.encode(golden)}
    return msgspec.structs.replace(bare, files=files)


def line(of: Bundle, settings: Runtime, *, pause: float = 0.2, **limited: float) -> Classifier:
    """Open a classifier whose accelerator is given little time and short pauses."""
    made = Classifier(of)
    pace = Pace(first_pause=pause, longest_pause=1.0)
    limits = Limits(**{"deadline": 2.0, "opening": 30.0, "ending": 0.5, **limited}, pace=pace)
    made.accelerated = accelerate(made._engine, of, settings, made._require_golden, limits)  # type: ignore[arg-type]
    made._engine = made.accelerated
    return made


def engine(of: Classifier) -> Accelerated:
    """Return what a line asks."""
    assert of.accelerated is not None
    return of.accelerated


def wait_until_it_judges(of: Classifier) -> None:
    """Return once the accelerator does, however often it was refused before."""
    held = engine(of)
    with held._changed:
        assert held._changed.wait_for(lambda: held._plan.accelerated, PATIENCE), held._plan.reason


def descriptors() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def children(of: int | None = None) -> dict[int, str]:
    """Return the state of each child of a process, this one by default: a letter of proc(5), Z for a zombie.

    All but the one that Python itself keeps once something here has used multiprocessing.
    """
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            runs = path.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == (of or os.getpid()) and b"multiprocessing.resource_tracker" not in runs:
            found[int(path.parent.name)] = state
    return found
