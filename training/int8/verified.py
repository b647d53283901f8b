"""A .tflite file is read here only after the runtime's own verifier has been through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from edge.errors import BundleError, RuntimeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Port(NamedTuple):
    """One input or output as the runtime sees it; quantization is (scale, zero point)."""

    shape: tuple[int, ...]
    dtype: str
    quantization: tuple[float, int]

    def __str__(self) -> str:
        """Say it in a few words."""
        return f"{self.dtype} {list(self.shape)} ({self.quantization[0]:g}, {self.quantization[1]})"


class Signature(NamedTuple):
    """What goes into a model and comes out of it, in the graph's order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))}"


def verified(model: bytes, name: str) -> Signature:
    """Let LiteRT verify a flatbuffer's structure; operators that only an accelerator knows are no fault.

    Raises BundleError, with the name that the file goes by, for bytes that are no sound TFLite model, and
    RuntimeUnavailableError without LiteRT.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise RuntimeUnavailableError(f"LiteRT cannot be loaded ({error}): pip install ai-edge-litert") from error
    try:
        interpreter = Interpreter(model_content=model)
        return Signature(_ports(interpreter.get_input_details()), _ports(interpreter.get_output_details()))
    except (ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise BundleError(f"{name} is no sound TFLite model ({text}); make it again") from error


def _ports(details: Sequence[dict[str, Any]]) -> tuple[Port, ...]:
    return tuple(
        Port(
            tuple(int(side) for side in one["shape"]),
            one["dtype"].__name__,
            (float(one["quantization"][0]), int(one["quantization"][1])),
        )
        for one in details
    )
