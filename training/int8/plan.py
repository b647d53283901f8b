"""The network as a plain list of integer-friendly operations: batch normalisation folded, activations fused.

This is how a trained network travels to another process and another Keras: plan.json and weights.npz in a folder.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from edge.errors import InspectError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Kind: TypeAlias = Literal[
    "input", "conv", "depthwise", "pad", "add", "concat", "mean", "upsample", "max-pool", "average-pool", "activation"
]
Activation: TypeAlias = Literal["linear", "relu", "relu6"]
Arrays: TypeAlias = "dict[str, npt.NDArray[np.float32]]"
_PLAN, _WEIGHTS = "plan.json", "weights.npz"
_SEES_THROUGH = frozenset({"Dropout", "SpatialDropout2D", "Identity"})
"""Layers that do nothing once the network is trained."""
_SIX = 6.0


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One operation. The weights of `name` are `name/kernel` (as Keras lays them out) and `name/bias`."""

    name: str
    kind: Kind
    inputs: tuple[str, ...] = ()
    activation: Activation = "linear"
    size: tuple[int, int] = (1, 1)  # height and width of a kernel, a pool or an enlargement
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: str = "valid"  # or same
    pads: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))  # of kind pad: (top, bottom), (left, right)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Operations in an order in which each comes after its inputs. `outputs`: which node gives which output."""

    shape: tuple[int, int, int]  # of the input: height, width, 3
    nodes: tuple[Node, ...]
    outputs: dict[str, str]

    def consumers(self, name: str) -> list[Node]:
        """Return the nodes that take a node's result."""
        return [node for node in self.nodes if name in node.inputs]


def write(folder: Path, plan: Plan, arrays: Arrays) -> None:
    """Write a plan and its weights to a folder; raises OSError."""
    (folder / _PLAN).write_bytes(msgspec.json.encode(plan))
    named: dict[str, Any] = {name.replace("/", "|"): array for name, array in arrays.items()}
    np.savez(folder / _WEIGHTS, **named)


def read(folder: Path) -> tuple[Plan, Arrays]:
    """Read what `write` wrote; raises OSError, ValueError or msgspec.DecodeError."""
    with np.load(folder / _WEIGHTS) as stored:
        arrays = {name.replace("|", "/"): stored[name] for name in stored.files}
    return msgspec.json.decode((folder / _PLAN).read_bytes(), type=Plan), arrays


def trace(model: Any) -> tuple[Plan, Arrays]:
    """Take a functional Keras model apart, models within models too.

    Raises InspectError naming the layer, if there is one that has no counterpart here.
    """
    tracer = _Tracer()
    found = tracer.run(model, [tracer.add("input", "pixels")])
    outputs = found if isinstance(found, dict) else {"output": found}
    plan = Plan(shape=tuple(model.inputs[0].shape[1:]), nodes=tuple(tracer.nodes), outputs=outputs)
    return _fuse(plan, tracer.arrays), tracer.arrays


class _Tracer:
    """Calls a model with names in the place of tensors, and notes what becomes of them."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.arrays: Arrays = {}

    def run(self, model: Any, inputs: list[str]) -> Any:
        # There is no public way to walk a functional model; this one is what Keras itself clones with.
        return model._run_through_graph(inputs, operation_fn=lambda layer: partial(self.call, layer))  # noqa: SLF001

    def call(self, layer: Any, *args: Any, **_: Any) -> Any:
        """Note what a layer does with the named nodes; returns its own name. Raises InspectError for an unknown one."""
        given = [name for one in args for name in (one if isinstance(one, list | tuple) else [one])]
        kind = type(layer).__name__
        if hasattr(layer, "_run_through_graph"):
            return self.run(layer, given)
        if kind in _SEES_THROUGH:
            return given[0]
        found = next((add for name, add in _LAYERS.items() if name in _ancestors(layer)), None)
        if found is None or not all(isinstance(name, str) for name in given):
            raise _unknown(layer)
        return found(self, layer, given)

    def add(self, kind: Kind, name: str, inputs: list[str] | None = None, **details: Any) -> str:
        taken = {node.name for node in self.nodes}
        unique = name if name not in taken else f"{name}_{len(taken)}"
        self.nodes.append(Node(name=unique, kind=kind, inputs=tuple(inputs or ()), **details))
        return unique

    def convolution(self, layer: Any, given: list[str]) -> str:
        """Note a convolution, by depth or not; returns its name. Raises InspectError for groups and multipliers."""
        depthwise = "DepthwiseConv2D" in _ancestors(layer)
        if getattr(layer, "groups", 1) != 1 or getattr(layer, "depth_multiplier", 1) != 1:
            raise _unknown(layer)
        name = self.add(
            "depthwise" if depthwise else "conv",
            layer.name,
            given,
            activation=_activation(layer, layer.activation),
            size=tuple(layer.kernel_size),
            strides=tuple(layer.strides),
            dilation=tuple(layer.dilation_rate),
            padding=layer.padding,
        )
        kernel = np.asarray(layer.kernel, np.float32)
        self.arrays[f"{name}/kernel"] = kernel
        channels = kernel.shape[2 if depthwise else 3]
        bias = np.asarray(layer.bias, np.float32) if layer.use_bias else np.zeros(channels, np.float32)
        self.arrays[f"{name}/bias"] = bias
        return name

    def batch_norm(self, layer: Any, given: list[str]) -> str:
        """Note it as a depthwise convolution of a single pixel, which `_fuse` folds into the one before it."""
        mean, variance = (np.asarray(value, np.float32) for value in (layer.moving_mean, layer.moving_variance))
        factor = 1 / np.sqrt(variance + np.float32(layer.epsilon))
        factor = factor * np.asarray(layer.gamma, np.float32) if layer.scale else factor
        shift = (np.asarray(layer.beta, np.float32) if layer.center else np.float32(0)) - mean * factor
        name = self.add("depthwise", layer.name, given)
        self.arrays[f"{name}/kernel"] = factor.reshape(1, 1, -1, 1)
        self.arrays[f"{name}/bias"] = shift
        return name

    def relu(self, layer: Any, given: list[str]) -> str:
        if layer.max_value not in (None, _SIX) or layer.negative_slope or layer.threshold:
            raise _unknown(layer)
        return self.add("activation", layer.name, given, activation="relu" if layer.max_value is None else "relu6")

    def activation(self, layer: Any, given: list[str]) -> str:
        kind = _activation(layer, layer.activation)
        return given[0] if kind == "linear" else self.add("activation", layer.name, given, activation=kind)

    def pad(self, layer: Any, given: list[str]) -> str:
        return self.add("pad", layer.name, given, pads=tuple(map(tuple, layer.padding)))

    def upsample(self, layer: Any, given: list[str]) -> str:
        if layer.interpolation != "nearest":
            raise _unknown(layer)
        return self.add("upsample", layer.name, given, size=tuple(layer.size))

    def pool(self, layer: Any, given: list[str], *, kind: Kind) -> str:
        details = {"size": tuple(layer.pool_size), "strides": tuple(layer.strides), "padding": layer.padding}
        return self.add(kind, layer.name, given, **details)

    def joined(self, layer: Any, given: list[str], *, kind: Kind) -> str:
        if getattr(layer, "keepdims", False):
            raise _unknown(layer)
        return self.add(kind, layer.name, given)


_LAYERS: dict[str, Callable[[_Tracer, Any, list[str]], str]] = {
    "DepthwiseConv2D": _Tracer.convolution,
    "Conv2D": _Tracer.convolution,
    "BatchNormalization": _Tracer.batch_norm,
    "ReLU": _Tracer.relu,
    "Activation": _Tracer.activation,
    "ZeroPadding2D": _Tracer.pad,
    "UpSampling2D": _Tracer.upsample,
    "MaxPooling2D": partial(_Tracer.pool, kind="max-pool"),
    "AveragePooling2D": partial(_Tracer.pool, kind="average-pool"),
    "Add": partial(_Tracer.joined, kind="add"),
    "Concatenate": partial(_Tracer.joined, kind="concat"),
    "GlobalAveragePooling2D": partial(_Tracer.joined, kind="mean"),
}
"""By the name of the class or of one it inherits: another Keras has classes of its own."""


def _ancestors(layer: Any) -> set[str]:
    return {kind.__name__ for kind in type(layer).__mro__}


def _activation(layer: Any, function: Any) -> Activation:
    name: Any = function.__name__
    if name not in ("linear", "relu", "relu6"):
        raise _unknown(layer)
    return name  # type: ignore[no-any-return]


def _unknown(layer: Any) -> InspectError:
    return InspectError(
        f"layer {layer.name} ({type(layer).__name__}) cannot be retrained for int8; "
        "take one of the backbones of the recipe as it is"
    )


def _fuse(plan: Plan, arrays: Arrays) -> Plan:
    """Fold factors per channel into the convolution before them, and activations into what they follow.

    `arrays` is brought up to date in place.
    """
    nodes = {node.name: node for node in plan.nodes}
    uses = Counter([name for node in plan.nodes for name in node.inputs] + [*plan.outputs.values()])
    gone: dict[str, str] = {}
    for node in plan.nodes:
        current = msgspec.structs.replace(node, inputs=tuple(gone.get(name, name) for name in node.inputs))
        nodes[node.name] = current
        before = nodes[current.inputs[0]] if current.inputs else current
        if before.activation != "linear" or uses[node.inputs[0] if node.inputs else ""] != 1:
            continue
        is_factor = node.kind == "depthwise" and node.size == node.strides == (1, 1)
        if is_factor and before.kind in ("conv", "depthwise"):
            _fold(before.name, node.name, arrays)
        elif not (node.kind == "activation" and before.kind in ("conv", "depthwise", "add")):
            continue
        nodes[before.name] = msgspec.structs.replace(before, activation=node.activation)
        gone[node.name] = before.name
        del nodes[node.name]
    return msgspec.structs.replace(
        plan,
        nodes=tuple(nodes.values()),
        outputs={output: gone.get(name, name) for output, name in plan.outputs.items()},
    )


def _fold(into: str, factor: str, arrays: Arrays) -> None:
    """Multiply a convolution's output channels by a depthwise convolution of one pixel that follows it."""
    scale, shift = arrays.pop(f"{factor}/kernel").reshape(-1), arrays.pop(f"{factor}/bias")
    kernel, bias = arrays[f"{into}/kernel"], arrays[f"{into}/bias"]
    by_channel = scale[:, np.newaxis] if kernel.shape[2] == len(bias) and kernel.shape[3] == 1 else scale
    arrays[f"{into}/kernel"], arrays[f"{into}/bias"] = kernel * by_channel, bias * scale + shift
