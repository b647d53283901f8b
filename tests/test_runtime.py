"""Opening an interpreter: first in a child process, because a damaged model can end a runtime."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from edge import runtime
from edge.contract import bundle
from edge.errors import BundleError, RuntimeUnavailableError
from edge.sections.runtime import Runtime

if TYPE_CHECKING:
    from pathlib import Path

AUTO = Runtime()


@pytest.fixture(scope="module")
def model(demo_bundle: Path) -> bytes:
    """The model that the project ships."""
    return bundle.read(demo_bundle).model


def sha256(model: bytes) -> str:
    return hashlib.sha256(model).hexdigest()


def markers(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.iterdir()]


def impostor(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let child processes find another LiteRT and tflite-runtime, made of these lines."""
    for package in ("ai_edge_litert", "tflite_runtime"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
        (folder / package / "interpreter.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_good_model_opens(model: bytes) -> None:
    """The interpreter is ready to run, and its engine can be named with its version."""
    opened = runtime.open_interpreter(model, AUTO)
    opened.interpreter.invoke()
    name, _, version = runtime.version(opened.engine).partition(" ")
    assert name in {"ai-edge-litert", "tflite-runtime"}
    assert version[0].isdigit()


def test_a_chosen_engine_is_the_one(model: bytes) -> None:
    """Each engine that is installed can be chosen; one that is not says what to install."""
    found = []
    for engine, package in (("litert", "ai-edge-litert"), ("tflite-runtime", "tflite-runtime")):
        settings = Runtime(engine=engine)  # type: ignore[arg-type]
        try:
            found.append(runtime.open_interpreter(model, settings).engine)
        except RuntimeUnavailableError as error:
            assert str(error) == f"no TFLite runtime is installed; pip install {package}"  # noqa: PT017 - either way
        else:
            assert found[-1] == engine
    assert found


@pytest.mark.parametrize("content", [b"", b"no model", bytes(1000), b"\x20\0\0\0TFL3" + bytes(100)])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    """Bytes that are no flatbuffer are a BundleError with the runtime's reason on one line."""
    with pytest.raises(BundleError) as caught:
        runtime.probe(content, sha256(content), AUTO, None)
    assert "\n" not in str(caught.value)


def test_a_probe_is_remembered(model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a state folder the child runs once a model: afterwards not even an impatient limit is reached."""
    runtime.probe(model, sha256(model), AUTO, tmp_path)
    monkeypatch.setattr(runtime, "PROBE_SECONDS", 0.001)
    runtime.probe(model, sha256(model), AUTO, tmp_path)
    with pytest.raises(RuntimeUnavailableError, match=r"more than 0\.001 s"):
        runtime.probe(model, sha256(model), AUTO, None)
    with pytest.raises(RuntimeUnavailableError, match="took more than"):
        runtime.probe(model, sha256(b"another"), AUTO, tmp_path)


def test_a_memory_of_another_runtime_does_not_count(
    model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade, or with a damaged memory, the model is probed again and the memory mended."""
    runtime.probe(model, sha256(model), AUTO, tmp_path)
    (good,) = markers(tmp_path)
    (path,) = tmp_path.iterdir()
    for other in (b"", b"\xff\xfe", good[:-1], good + b".1"):
        path.write_bytes(other)
        with monkeypatch.context() as patch:
            patch.setattr(runtime, "PROBE_SECONDS", 0.001)
            with pytest.raises(RuntimeUnavailableError, match="took more than"):
                runtime.probe(model, sha256(model), AUTO, tmp_path)
    runtime.probe(model, sha256(model), AUTO, tmp_path)
    assert markers(tmp_path) == [good]


def test_only_the_newest_models_are_remembered(model: bytes, tmp_path: Path) -> None:
    """A device sees many models in its life; its memory of them does not grow, and keeps the newest."""
    for number in range(20):
        (tmp_path / f"probed-{number}-auto").touch()
        os.utime(tmp_path / f"probed-{number}-auto", (number, number))
    runtime.probe(model, sha256(model), AUTO, tmp_path)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {f"probed-{sha256(model)}-auto", *(f"probed-{number}-auto" for number in range(13, 20))}


def test_a_memory_that_may_not_be_read_is_no_reason_to_stop(
    ordinary_user: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What another user remembered counts as forgotten, and the log names the folder."""
    (ordinary_user / "probed").touch(mode=0o000)
    assert not runtime._remembers(ordinary_user / "probed", b"")
    assert str(ordinary_user) in caplog.text


def test_a_refused_model_is_not_remembered(tmp_path: Path) -> None:
    """Nothing is written for a model that did not pass."""
    with pytest.raises(BundleError):
        runtime.probe(b"no model", sha256(b"no model"), AUTO, tmp_path)
    assert markers(tmp_path) == []


def test_a_probe_that_cannot_be_remembered_is_no_reason_to_stop(
    model: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a state folder that is full or gone the model still runs; the log names the folder."""
    runtime.probe(model, sha256(model), AUTO, tmp_path / "gone")
    assert str(tmp_path / "gone") in caplog.text


def test_nothing_in_the_working_folder_is_run(model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's folder that holds a module of a well-known name gets no say in the probe."""
    for name in ("numpy", "subprocess", "edge"):
        (tmp_path / f"{name}.py").write_text("import pathlib\npathlib.Path('run').touch()\nraise SystemExit(0)\n")
    monkeypatch.chdir(tmp_path)
    runtime.probe(model, sha256(model), AUTO, None)
    assert not (tmp_path / "run").exists()


def test_an_exit_code_alone_is_no_proof(model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that ends the child with exit code 0 before the model ran has not passed."""
    impostor(tmp_path, monkeypatch, "raise SystemExit(0)")
    with pytest.raises(BundleError, match="before it had run the model"):
        runtime.probe(model, sha256(model), AUTO, None)


def test_a_runtime_that_dies_takes_only_the_child(
    model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that ends the runtime with SIGSEGV is a BundleError that names the signal."""
    impostor(tmp_path, monkeypatch, "import os, signal\nInterpreter = lambda **_: os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(BundleError, match=r"the model crashes the runtime \(signal 11\); rebuild the bundle"):
        runtime.probe(model, sha256(model), AUTO, None)


def test_a_killed_probe_is_no_fault_of_the_bundle(
    model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that the kernel kills, short of memory, is RuntimeUnavailableError: the service tries again."""
    impostor(tmp_path, monkeypatch, "import os, signal\nInterpreter = lambda **_: os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(RuntimeUnavailableError, match="was killed: is memory short"):
        runtime.probe(model, sha256(model), AUTO, None)


def test_a_runtime_that_hangs_is_ended(model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that never comes back is RuntimeUnavailableError after the limit: the service tries again."""
    monkeypatch.setattr(runtime, "PROBE_SECONDS", 2)
    impostor(tmp_path, monkeypatch, "import time\nInterpreter = lambda **_: time.sleep(600)")
    with pytest.raises(RuntimeUnavailableError, match="took more than 2 s: this machine is too busy, or the model"):
        runtime.probe(model, sha256(model), AUTO, None)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ModuleNotFoundError", "no TFLite runtime is installed; pip install ai-edge-litert or tflite-runtime"),
        ("raise ImportError('built for another numpy')", r"does not load \(built for another numpy\); reinstall it"),
    ],
)
def test_a_missing_or_broken_runtime_is_no_fault_of_the_bundle(
    model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    """Without a runtime that loads, the error is RuntimeUnavailableError with the package to install."""
    impostor(tmp_path, monkeypatch, code)
    with pytest.raises(RuntimeUnavailableError, match=reason):
        runtime.probe(model, sha256(model), AUTO, None)


def test_any_other_failure_of_the_child_is_one_line(
    model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that nobody foresaw in the child becomes its last line, not its traceback."""
    impostor(tmp_path, monkeypatch, "def Interpreter(**_):\n    raise KeyError('odd')")
    with pytest.raises(BundleError, match=r"^KeyError: 'odd'$"):
        runtime.probe(model, sha256(model), AUTO, None)


@pytest.mark.parametrize("module", ["email.message", "nowhere.interpreter"])
def test_a_runtime_without_a_version(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """A runtime that does not say its version, or is not there, is named without one instead of failing."""
    monkeypatch.setitem(runtime._MODULES, "litert", module)
    assert runtime.version("litert") == "ai-edge-litert of unknown version"
