"""A .tflite file is read here only after the runtime's own verifier has been through it."""

from __future__ import annotations

from typing import Any

from edge.errors import BundleError, RuntimeUnavailableError


def verified(model: bytes, name: str) -> Any:
    """Return LiteRT's interpreter of a flatbuffer, its tensors not allocated: custom operators may be unknown to it.

    Raises BundleError, with the name the file goes by, for bytes that are no sound TFLite model, and
    RuntimeUnavailableError without LiteRT.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise RuntimeUnavailableError(f"LiteRT cannot be loaded ({error}): pip install ai-edge-litert") from error
    try:
        return Interpreter(model_content=model)
    except (ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise BundleError(f"{name} is no sound TFLite model ({text}); make it again") from error
