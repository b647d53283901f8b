"""Stands in for Google's edgetpu_compiler in tests: prints its forms, compiles nothing.

It takes the real one's options (-s, -t, -o, the model). STANDIN says how it behaves (see BEHAVIOURS), STANDIN_STATE
names a file that counts its runs. Its model_edgetpu.tflite is one custom operator from the model's inputs to its
outputs, which no Edge TPU could run.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = "Edge TPU Compiler version 16.0.384591198"
TIMER = "Started a compilation timeout timer of {seconds} seconds."
COMPLETED = "Compilation child process completed within timeout period."
PARTLY = (
    "Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of the model will "
    "instead run on the CPU, which is slower. If possible, consider updating your model to use only operations "
    "supported by the Edge TPU. For details, visit g.co/coral/model-reqs."
)
WHOLE = (
    ("PAD", 4, "Mapped to Edge TPU"),
    ("MEAN", 2, "Mapped to Edge TPU"),
    ("CONV_2D", 36, "Mapped to Edge TPU"),
)
SPLIT = (
    *WHOLE,
    ("SOFTMAX", 1, "More than one subgraph is not supported"),
    ("RESHAPE", 2, "Operation is otherwise supported, but not mapped due to some unspecified limitation"),
    ("PACK", 1, "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"),
)
NOTHING = tuple(
    (name, count, "Filter, bias, or other param is not constant at compile-time") for name, count, _ in WHOLE
)


def success(rows: tuple[tuple[str, int, str], ...], *, subgraphs: int = 1, seconds: int = 180) -> str:
    """The output of a run that made a file, as version 16 prints it with -s."""
    total = sum(count for _, count, _ in rows)
    mapped = sum(count for _, count, status in rows if status == "Mapped to Edge TPU")
    lines = [
        VERSION,
        TIMER.format(seconds=seconds),
        "",
        "Model compiled successfully in 1072 ms.",
        "",
        "Input model: model.tflite",
        "Input size: 628.28KiB",
        "Output model: model_edgetpu.tflite",
        "Output size: 764.59KiB",
        "On-chip memory used for caching model parameters: 595.00KiB",
        "On-chip memory remaining for caching model parameters: 7.09MiB",
        "Off-chip memory used for streaming uncached model parameters: 0.00B",
        f"Number of Edge TPU subgraphs: {subgraphs}",
        f"Total number of operations: {total}",
        "Operation log: model_edgetpu.log",
        "",
    ]
    if mapped < total:
        lines += [
            PARTLY,
            f"Number of operations that will run on Edge TPU: {mapped}",
            f"Number of operations that will run on CPU: {total - mapped}",
            "",
        ]
    lines += ["Operator                       Count      Status", ""]
    lines += [f"{name:<30} {count:<10} {status}" for name, count, status in rows]
    return "\n".join([*lines, COMPLETED, "Compilation succeeded! ", ""])


def failed(*said: str) -> str:
    """The output of a run that made none."""
    return "\n".join([VERSION, TIMER.format(seconds=180), *said, COMPLETED, "Compilation failed! ", ""])


def compiled(model: bytes, custom: bytes = b"edgetpu-custom-op") -> bytes:
    """A model of one custom operator between the same inputs and outputs."""
    content = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    (graph,) = content.subgraphs
    code = schema.BuiltinOperator.CUSTOM
    content.operatorCodes = [schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, customCode=custom)]
    options = np.frombuffer(b"nothing an Edge TPU runs", np.uint8)
    graph.operators = [schema.OperatorT(inputs=graph.inputs, outputs=graph.outputs, customOptions=options)]
    builder = flatbuffers.Builder(len(model))
    builder.Finish(content.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def other_input(model: bytes) -> bytes:
    """A compiled model whose input has another quantization."""
    content = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(compiled(model), 0))
    (graph,) = content.subgraphs
    graph.tensors[graph.inputs[0]].quantization.scale = np.array([1 / 255], np.float32)
    builder = flatbuffers.Builder(len(model))
    builder.Finish(content.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def hang(_: Any) -> None:
    """Say who it is, then nothing, deaf to being asked to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(VERSION, flush=True)
    Path("started").touch()
    if state := os.environ.get("STANDIN_STATE"):
        Path(state).write_text(str(os.getpid()), "ascii")
    time.sleep(600)


def abort(_: Any) -> None:
    """Die of itself."""
    print(VERSION, "", "Internal compiler error. Aborting! ", sep="\n", flush=True)
    os.kill(os.getpid(), signal.SIGABRT)


def abort_once(arguments: Any) -> None:
    """Die the first time, and succeed on the same file the second."""
    state = Path(os.environ["STANDIN_STATE"])
    if not state.exists():
        state.touch()
        abort(arguments)
    succeed(arguments)


def succeed(
    arguments: Any,
    rows: tuple[tuple[str, int, str], ...] = WHOLE,
    *,
    subgraphs: int = 1,
    make: Callable[[bytes], bytes | None] = compiled,
) -> None:
    """Write a file and tell of it."""
    made = make(arguments.model.read_bytes())
    if made is not None:
        (arguments.out / f"{arguments.model.stem}_edgetpu.tflite").write_bytes(made)
    print(success(rows, subgraphs=subgraphs, seconds=arguments.seconds), end="")


def refuse(*said: str) -> Callable[[Any], None]:
    """Fail with these words."""

    def behave(_: Any) -> None:
        print(failed(*said), end="")
        sys.exit(1)

    return behave


BEHAVIOURS: dict[str, Callable[[Any], None]] = {
    "whole": succeed,
    "split": lambda arguments: succeed(arguments, SPLIT),
    "nothing": lambda arguments: succeed(arguments, NOTHING, subgraphs=0, make=lambda model: model),
    "no-file": lambda arguments: succeed(arguments, make=lambda _: None),
    "torn": lambda arguments: succeed(arguments, make=lambda model: compiled(model)[:5000]),
    "other-input": lambda arguments: succeed(arguments, make=other_input),
    "no-custom-op": lambda arguments: succeed(arguments, make=lambda model: model),
    "abort-once": abort_once,
    "abort": abort,
    "dead-child": refuse(),
    "hang": hang,
    "not-quantized": refuse("Invalid model: model.tflite", "Model not quantized"),
    "large": refuse("Compilation failed: Compilation failed due to large activation tensors in model."),
    "slow": refuse("Compilation timeout. This is usually caused by large activations."),
}


def main() -> None:
    """Read the real compiler's options and behave as told."""
    parser = argparse.ArgumentParser(prog="edgetpu_compiler")
    parser.add_argument("-s", action="store_true", required=True)
    parser.add_argument("-t", dest="seconds", type=int, required=True)
    parser.add_argument("-o", dest="out", type=Path, required=True)
    parser.add_argument("model", type=Path)
    BEHAVIOURS[os.environ.get("STANDIN", "whole")](parser.parse_args())


if __name__ == "__main__":
    main()
