"""Which runtimes judge an int8 model: those that run one, whatever is installed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge.errors import RuntimeUnavailableError
from training.int8 import engines

if TYPE_CHECKING:
    from pathlib import Path

CRASHES = "import os\nInterpreter = lambda **_: os.abort()"


def impostor(folder: Path, monkeypatch: pytest.MonkeyPatch, package: str, code: str) -> None:
    """Let this process and its children find another package of this name, made of these lines."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").touch()
    (folder / package / "interpreter.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


def test_litert_is_always_there() -> None:
    """It is the runtime whose judgement comes first, and whatever else works follows."""
    assert engines.find().working[0] == "litert"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('built for another numpy')", "tflite-runtime does not load (built for another numpy)"),
        ("def Interpreter(**_):\n    raise SystemError('an exception set')", "SystemError: an exception set"),
        (CRASHES, "the model crashes the runtime (signal 6)"),
    ],
)
def test_a_runtime_that_runs_no_model_is_told_of_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], code: str, reason: str
) -> None:
    """Being installed, or even imported, is not enough: one line on stderr says why it judges nothing."""
    impostor(tmp_path, monkeypatch, "tflite_runtime", code)
    found = engines.find()
    told = f"tflite-runtime runs no model ({reason}): int8 is judged without it; mend or uninstall it."
    assert found == engines.Engines(("litert",), (told,))
    assert capfd.readouterr().err == f"{told}\n"


def test_a_runtime_that_runs_a_model_judges_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second runtime comes after LiteRT."""
    impostor(tmp_path, monkeypatch, "tflite_runtime", "from ai_edge_litert.interpreter import Interpreter")
    assert engines.find() == engines.Engines(("litert", "tflite-runtime"))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ModuleNotFoundError", "no TFLite runtime is installed; pip install ai-edge-litert$"),
        ("raise ImportError('torn')", r"ai-edge-litert does not load \(torn\); reinstall it$"),
        (CRASHES, r"LiteRT runs no model \(the model crashes .*\); reinstall ai-edge-litert$"),
    ],
)
def test_without_litert_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str) -> None:
    """Devices run it, so that it is missing or broken is an error with the package to install."""
    impostor(tmp_path, monkeypatch, "ai_edge_litert", code)
    with pytest.raises(RuntimeUnavailableError, match=reason):
        engines.find()


def scores(classes: np.ndarray) -> engines.Floats:
    """Return logits that say these classes clearly."""
    return (10 * np.eye(3)[classes]).astype(np.float32)


def test_a_runtime_that_sees_other_classes_is_named() -> None:
    """Two pictures and more than the allowed share that differ name the runtime and how far its scores are off."""
    truth = np.repeat([0, 1, 2], 20)
    other = truth.copy()
    other[:2] = 1
    assert engines.disagreements({"litert": scores(truth), "tflite-runtime": scores(other)}, allow_drop=0.01) == [
        "tflite-runtime sees another class than litert in 2 of 60 pictures (scores differ by up to 1.00)"
    ]
    other[1] = 0
    assert engines.disagreements({"litert": scores(truth), "tflite-runtime": scores(other)}, allow_drop=0.01) == []
