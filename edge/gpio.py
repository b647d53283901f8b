"""The system's gpiozero, which must fit the Raspberry Pi's kernel: it comes from apt."""

from __future__ import annotations

from typing import Any

from edge.errors import ConfigError


def import_gpiozero(wanted_for: str) -> Any:
    """Return the module; raises ConfigError, naming the key that needs it and the remedy."""
    try:
        import gpiozero
    except ImportError as error:
        remedy = "apt install python3-gpiozero python3-lgpio, and a venv with --system-site-packages"
        raise ConfigError(f"{wanted_for}: {error}; it needs {remedy}") from error
    return gpiozero


def line_of(error: BaseException) -> str:
    """Return what an error of gpiozero's says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
