"""Runs Google's edgetpu_compiler, wherever it is, and believes its result only after looking at it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ai_edge_litert import schema_py_generated as schema

from edge.contract.bundle import EDGE_TPU_MODEL, MAX_BUNDLE_BYTES, MODEL
from edge.errors import BundleError, RuntimeUnavailableError
from training.int8 import edgetpu_log
from training.int8.edgetpu_plan import REMEDY, find, plan
from training.int8.verified import verified

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.int8.edgetpu_log import Failure, Mapping
    from training.int8.edgetpu_plan import Compiler, Plan

TRIES = 3
"""An abort has been seen to pass at the second or third run on the same file."""
_CUSTOM_OP = b"edgetpu-custom-op"
_GRACE = 2.0
"""Seconds above the compiler's own time limit before it is stopped, and for it to end when asked to."""
_CLEANUP_SECONDS = 20
_SHOWN, _SAID = 8, 300
"""Rows, and characters of the compiler's words, in an error's one line."""
_MAX_LOG_BYTES = 1 << 20
_NOT_STARTED = frozenset({125, 126, 127, 255})
"""Exit codes of containers (125), shells (126, 127) and ssh (255) that could not run the compiler."""
_SIGNALLED = range(129, 193)
"""What shells and containers report for a process that a signal ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """A model for the Edge TPU, checked, and how it came about."""

    model: bytes
    mapping: Mapping
    log: str
    tries: int


def compile_model(
    model: bytes, compiler: Compiler, *, seconds: int, allow_cpu: bool, say: Callable[[str], None]
) -> Compiled:
    """Compile an int8 model; `say` is told of an abort that is tried again.

    Raises BundleError for a model that the compiler refuses, or leaves on the CPU without `allow_cpu`, or spoils, and
    RuntimeUnavailableError where the compiler cannot be run or does not end within `seconds`.
    """
    compiler = find(compiler)
    number = 1
    while True:
        with tempfile.TemporaryDirectory(prefix="edge-train-") as folder:
            names = {"folder": folder, "token": secrets.token_hex(8)}
            planned = plan(compiler, **names, seconds=seconds, user=(os.getuid(), os.getgid()))
            code, log = _run(planned, Path(folder), model, seconds)
            outcome = judge(code, log, str(compiler), allow_cpu=allow_cpu)
            if isinstance(outcome, edgetpu_log.Mapping):
                compiled = _read(Path(folder, EDGE_TPU_MODEL))
                check(model, compiled)
                return Compiled(model=compiled, mapping=outcome, log=log, tries=number)
        if not outcome.passes:
            raise BundleError(f"the Edge TPU compiler refuses the model: {outcome.said}{_remedy(outcome.said)}")
        if number == TRIES:
            raise BundleError(f"the Edge TPU compiler failed {TRIES} times: {outcome.said}{_remedy(outcome.said)}")
        say(f"the compiler failed ({outcome.said}), which can pass: trying again, {number + 1} of {TRIES}")
        number += 1


def judge(code: int, log: str, compiler: str, *, allow_cpu: bool) -> Mapping | Failure:
    """Decide what one run came to.

    Raises RuntimeUnavailableError if the compiler did not even start, BundleError for a mapping that is not allowed
    or an output of no known form.
    """
    if code:
        if code in _NOT_STARTED and "Edge TPU Compiler version" not in log:
            raise RuntimeUnavailableError(f"{compiler} cannot run edgetpu_compiler: {edgetpu_log.failure(log).said}")
        found = edgetpu_log.failure(log, died=code < 0 or code in _SIGNALLED)
        return replace(found, said=f"{found.said[:_SAID]}, exit code {code}")
    if "Model compiled successfully" not in log:
        return edgetpu_log.failure(log)
    mapping = edgetpu_log.parse(log)
    if not mapping.subgraphs or len(mapping.on_cpu) == len(mapping.rows):
        raise BundleError(f"the Edge TPU compiler mapped nothing to the Edge TPU: {_reasons(mapping)}")
    if mapping.on_cpu and not allow_cpu:
        raise BundleError(f"part of the model would run on the CPU: {_reasons(mapping)}; --allow-cpu takes it so")
    return mapping


def check(model: bytes, compiled: bytes) -> None:
    """Raise BundleError unless `compiled` is a sound model with the same inputs and outputs that uses the Edge TPU."""
    before, after = verified(model, MODEL), verified(compiled, f"the compiler's {EDGE_TPU_MODEL}")
    if before != after:
        raise BundleError(f"the compiler's {EDGE_TPU_MODEL} takes and gives {after}, not {before}; nothing was written")
    content = schema.Model.GetRootAsModel(compiled, 0)
    codes = [content.OperatorCodes(i).CustomCode() for i in range(content.OperatorCodesLength())]
    graph = content.Subgraphs(0)
    used = {codes[graph.Operators(i).OpcodeIndex()] for i in range(graph.OperatorsLength())}
    if _CUSTOM_OP not in used:
        raise BundleError(f"the compiler's {EDGE_TPU_MODEL} has no operator {_CUSTOM_OP.decode()}; nothing was written")


def _reasons(mapping: Mapping) -> str:
    rows = [f"{row.count} {row.operator} ({row.status[:_SAID]})" for row in mapping.on_cpu]
    more = [f"and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []
    return "; ".join([*rows[:_SHOWN], *more]) or "no operators at all"


def _remedy(said: str) -> str:
    if said.startswith("Compilation time"):
        return "; give it longer with --timeout, or build with a smaller --size"
    return "; rebuild the bundle with edge-train build"


def _run(plan: Plan, folder: Path, model: bytes, seconds: int) -> tuple[int, str]:
    """Run one plan in a folder and return its exit code and all it printed; whatever ends the wait, ends the run."""
    (folder / MODEL).write_bytes(model)
    result, printed = folder / EDGE_TPU_MODEL, folder / "printed"
    with (folder / MODEL).open("rb") as given, printed.open("wb") as log, tempfile.TemporaryFile() as made:
        try:
            process = subprocess.Popen(
                plan.command,
                cwd=folder,
                stdin=given if plan.streams else subprocess.DEVNULL,
                stdout=made if plan.streams else log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise RuntimeUnavailableError(
                f"{plan.command[0]} cannot be started ({error.strerror}); {REMEDY}"
            ) from error
        try:
            code = process.wait(seconds + _GRACE)
        except subprocess.TimeoutExpired:
            remedy = "give it longer with --timeout"
            raise RuntimeUnavailableError(f"{plan.command[0]} did not end within {seconds} s; {remedy}") from None
        finally:
            if process.returncode is None:
                _end(process, plan)
        if plan.streams and not code:
            made.seek(0)
            result.write_bytes(made.read(MAX_BUNDLE_BYTES + 1))
    with printed.open("rb") as log:
        return code, log.read(_MAX_LOG_BYTES).decode(errors="replace")


def _end(process: subprocess.Popen[bytes], plan: Plan) -> None:
    """End a run that is still going, its children and what it left elsewhere."""
    os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if not plan.cleanup:
        return
    try:
        subprocess.run(plan.cleanup, capture_output=True, timeout=_CLEANUP_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"what was left behind could not be removed: {error}", file=sys.stderr)


def _read(path: Path) -> bytes:
    """Read what the compiler made, up to what a bundle may hold."""
    # A container's link would be followed here, outside it.
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"the Edge TPU compiler says it succeeded but left no {EDGE_TPU_MODEL}; run it again")
    with path.open("rb") as file:
        data = file.read(MAX_BUNDLE_BYTES + 1)
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(f"the compiler's {EDGE_TPU_MODEL} is larger than the {MAX_BUNDLE_BYTES} bytes of a bundle")
    return data
