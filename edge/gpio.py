"""The system's gpiozero, which must fit the Raspberry Pi's kernel: it comes from apt."""

from __future__ import annotations

from typing import Any

from edge.errors import ConfigError, InspectError


def import_gpiozero(wanted_for: str) -> Any:
    """Return the module; raises ConfigError, naming the key that needs it and the remedy."""
    try:
        import gpiozero
    except ImportError as error:
        remedy = "apt install python3-gpiozero python3-lgpio, and a venv with --system-site-packages"
        raise ConfigError(f"{wanted_for}: {error}; it needs {remedy}") from error
    return gpiozero


def unusable(gpiozero: Any, pin: str, error: Exception) -> InspectError:
    """Return what a pin that cannot be opened is told as; `pin` names it and its key.

    A ConfigError, after which systemd starts nothing anew, only for what the configuration asks in vain. What else a
    driver says the next start may find mended: lgpio.error where another program has the pin, no factory where udev
    has not handed out the chip yet.
    """
    says = f"{pin} cannot be used ({line_of(error)})"
    asked = isinstance(error, (gpiozero.GPIOZeroError, ValueError)) and not isinstance(error, gpiozero.BadPinFactory)
    remedy = (
        "is it a pin's name, and once in the configuration?" if asked else "is it free, and this user in group gpio?"
    )
    return (ConfigError if asked else InspectError)(f"{says}; {remedy}")


def line_of(error: BaseException) -> str:
    """Return what an error of gpiozero's says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
