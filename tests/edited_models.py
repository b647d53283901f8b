"""Models for tests of what a flatbuffer may hold: one that is sound, and ways to spoil it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from training.int8 import flatbuffer

if TYPE_CHECKING:
    from collections.abc import Callable

SOUND = (Path(__file__).resolve().parent.parent / "edge/demo_bundle/model.tflite").read_bytes()
"""MobileNetV2 with the head of contract 3, as edge-train build made it."""


def edit(change: Callable[[Any], None], model: bytes = SOUND) -> bytes:
    """Return a model after a change to its object tree, read and written by another library than ours."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    change(tree)
    builder = flatbuffers.Builder(len(model) + 4096)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operators(tree: Any, name: str) -> list[Any]:
    """Return all operators of a kind."""
    code = getattr(schema.BuiltinOperator, name)
    kinds = [
        index for index, one in enumerate(tree.operatorCodes) if max(one.builtinCode, one.deprecatedBuiltinCode) == code
    ]
    return [operator for operator in tree.subgraphs[0].operators if operator.opcodeIndex in kinds]


def rename(tree: Any, old: str, new: str, version: int = 1) -> None:
    """Make all operators of one kind another kind."""
    code = getattr(schema.BuiltinOperator, new)
    (one,) = {operator.opcodeIndex for operator in operators(tree, old)}
    kind = tree.operatorCodes[one]
    kind.builtinCode, kind.deprecatedBuiltinCode, kind.version = code, min(code, 127), version


def tensor(tree: Any, index: int) -> Any:
    """Return a tensor of the first subgraph."""
    return tree.subgraphs[0].tensors[index]


def findings(model: bytes, severity: str) -> str:
    """Return all findings of one severity as text."""
    return "\n".join(str(finding) for finding in flatbuffer.inspect(model) if finding.severity == severity)


def set_tensor(index: int, **values: Any) -> Callable[[Any], None]:
    """Return a change of one tensor's fields; `scale`, `zeroPoint` and `axis` are its quantization's."""

    def change(tree: Any) -> None:
        found = tensor(tree, index)
        for name, value in values.items():
            holder = found.quantization if name in ("scale", "zeroPoint", "quantizedDimension") else found
            setattr(holder, name, value)

    return change
