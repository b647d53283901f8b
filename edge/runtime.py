"""Opens a TFLite interpreter: LiteRT or tflite-runtime, whichever this device has.

`python -m edge.runtime ENGINE THREADS < model.tflite` loads a model and runs it once: the probe that
`probe` starts in a child process, because a damaged model can end a runtime with SIGSEGV. LiteRT checks a
model's structure first; tflite-runtime does not, and what crashes it now and then may pass its probe. Against
accidents there are the bundle's hashes, against strangers its signature.
"""

from __future__ import annotations

import importlib
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from edge.contract import storage
from edge.errors import BundleError, RuntimeUnavailableError, by_exit_code
from edge.record import Record
from edge.sections.runtime import Runtime

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

log = logging.getLogger(__name__)

EngineName: TypeAlias = Literal["litert", "tflite-runtime"]

_MODULES = {"litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
_PACKAGES = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}
_PASSED = b"passed"
"""What the child says last: an exit code of 0 alone could come from anything."""
_REMEMBERED = 8
"""Markers in a state folder, at most."""
PROBE_SECONDS = 60
"""Far above the slowest first load (qemu-emulated arm64: 10 s); beyond it the runtime hangs or the machine does."""


class Interpreter(Protocol):
    """What both runtimes' interpreters offer and this project uses."""

    def allocate_tensors(self) -> None:
        """Plan the memory; must come before everything else."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """Describe the input tensors: index, shape, dtype, quantization."""

    def get_output_details(self) -> list[dict[str, Any]]:
        """Describe the output tensors, in the graph's order."""

    def set_tensor(self, tensor_index: int, value: npt.NDArray[Any]) -> None:
        """Copy values in."""

    def invoke(self) -> None:
        """Run the graph."""

    def get_tensor(self, tensor_index: int) -> npt.NDArray[Any]:
        """Copy values out."""


class Opened(Record, frozen=True):
    """A ready interpreter and which engine it is, as `info` reports it."""

    interpreter: Interpreter
    engine: str


def open_interpreter(model: bytes, settings: Runtime) -> Opened:
    """Load a model with its tensors allocated.

    Raises BundleError if the runtime refuses the model, RuntimeUnavailableError if there is no runtime.
    """
    name, module = find_engine(settings.engine)
    try:
        interpreter = module.Interpreter(model_content=model, num_threads=settings.threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise BundleError(f"{name} refuses the model ({text}); rebuild the bundle with edge-train build") from error
    return Opened(interpreter, name)


def probe(model: bytes, model_sha256: str, settings: Runtime, state_dir: Path | None) -> None:
    """Load and run a model once in a child process, unless `state_dir` remembers that it passed.

    Raises BundleError if the model crashes the runtime or is refused by it; RuntimeUnavailableError without a
    runtime, and for a child that took too long or was killed, which another try may mend.
    """
    marker = state_dir / f"probed-{model_sha256}-{settings.engine}" if state_dir else None
    stack = _stack().encode() if marker else b""
    if marker is not None and _remembers(marker, stack):
        return
    import subprocess  # A start whose model is known needs none.

    # -P: no module is taken from the working folder, which may be a stranger's bundle.
    command = [sys.executable, "-P", "-m", "edge.runtime", settings.engine, str(settings.threads)]
    try:
        child = subprocess.run(command, input=model, capture_output=True, timeout=PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        problem = f"the probe of the model took more than {PROBE_SECONDS} s"
        raise RuntimeUnavailableError(f"{problem}: this machine is too busy, or the model hangs the runtime") from None
    except OSError as error:
        raise RuntimeUnavailableError(f"the probe of the model cannot be started ({error})") from error
    if child.returncode == -signal.SIGKILL:  # No model does that: the kernel does when memory is short.
        raise RuntimeUnavailableError("the probe of the model was killed: is memory short?")
    if child.returncode < 0:
        raise BundleError(f"the model crashes the runtime (signal {-child.returncode}); rebuild the bundle")
    if child.returncode:
        lines = child.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        kind = by_exit_code(child.returncode)
        raise (kind if kind is RuntimeUnavailableError else BundleError)(lines[-1].removeprefix("edge.runtime: "))
    if child.stdout.split() != [_PASSED]:
        raise BundleError("the probe ended before it had run the model; reinstall edge-inspect")
    if marker is not None:
        _remember(marker, stack)


def _remembers(marker: Path, stack: bytes) -> bool:
    try:
        return storage.read_plain(marker, len(stack) + 1) == stack
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("state_dir %s: %s; the model is probed again", marker.parent, error)
        return False


def _remember(marker: Path, stack: bytes) -> None:
    """Keep the newest few markers only: a device sees many models in its life."""
    try:
        storage.replace_file(marker, stack)
        others = [path for path in marker.parent.glob("probed-*") if path != marker]
        by_age = sorted(others, key=lambda path: path.stat().st_mtime_ns)
        for older in by_age[: 1 - _REMEMBERED]:
            older.unlink(missing_ok=True)
    except OSError as error:
        # The model has passed: a full disk only means that the next start probes it again.
        log.warning("state_dir %s: %s; the next start will probe the model again", marker.parent, error)


def version(engine: str) -> str:
    """Return an engine's name and version, as `info` publishes it."""
    # Not importlib.metadata: a tenth of a start goes into importing it, and a build from apt has no entry there.
    try:
        package: Any = importlib.import_module(_MODULES[engine].partition(".")[0])
    except ModuleNotFoundError:
        package = None
    return f"{_PACKAGES[engine]} {getattr(package, '__version__', 'of unknown version')}"


def installed() -> list[EngineName]:
    """Return the engines whose packages are there, without loading them, in the order of `auto`."""
    from importlib.util import find_spec  # No start needs it.

    names: tuple[EngineName, ...] = ("litert", "tflite-runtime")
    return [name for name in names if find_spec(_MODULES[name].partition(".")[0])]


def find_engine(engine: str) -> tuple[str, Any]:
    """Import a runtime and return its name and its interpreter's module; raises RuntimeUnavailableError."""
    wanted = tuple(_MODULES) if engine == "auto" else (engine,)
    for name in wanted:
        try:
            return name, importlib.import_module(_MODULES[name])
        except ModuleNotFoundError:
            continue
        except ImportError as error:
            raise RuntimeUnavailableError(f"{_PACKAGES[name]} does not load ({error}); reinstall it") from error
    packages = " or ".join(_PACKAGES[name] for name in wanted)
    raise RuntimeUnavailableError(f"no TFLite runtime is installed; pip install {packages}")


def _stack() -> str:
    """Identify what a probe's result depends on besides the model: the Python and its runtimes."""
    return "\n".join([sys.version, sys.prefix, *map(version, _PACKAGES)])


def _probe_child() -> int:
    engine, threads = sys.argv[1:]
    settings = Runtime(engine=engine, threads=int(threads))  # type: ignore[arg-type]
    opened = open_interpreter(sys.stdin.buffer.read(), settings)
    opened.interpreter.invoke()
    print(_PASSED.decode())
    return 0


if __name__ == "__main__":
    from edge.command import run_command

    sys.exit(run_command("edge.runtime", _probe_child))
