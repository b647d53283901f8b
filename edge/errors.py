"""Every deliberate error, each with the exit code that the commands end with.

    InspectError                     1
    ├── ConfigError (ValueError)     3  the device's configuration is wrong
    ├── BundleError (ValueError)     4  a model bundle is missing, damaged or not for this version
    ├── CameraError (OSError)        5  a camera is not there or stopped answering
    ├── RuntimeUnavailableError      6  no interpreter, or the model crashes it
    ├── BrokerError (OSError)        7  the MQTT broker is unreachable or refuses us
    ├── DataError (ValueError)       8  a picture or a data set cannot be used
    └── DeployError (RuntimeError)   9  a device did not come back with what was pushed

Besides these: 0 is success, 2 a wrong command line (argparse), 130 an interrupt (Ctrl-C), 141 a closed output (head).
A message is one line: it names the offending value and the remedy.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

OUTPUT_CLOSED = 141
"""Exit code when the reader of our output is gone, as shells report it (128 + SIGPIPE)."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells report it (128 + SIGINT)."""


class InspectError(Exception):
    """The base of every error that edge-inspect raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigError(InspectError, ValueError):
    """The configuration names something unknown, out of range or missing."""

    exit_code = 3


class BundleError(InspectError, ValueError):
    """A model bundle is missing, damaged, or needs another version of this program."""

    exit_code = 4


class CameraError(InspectError, OSError):
    """A camera is not there, refuses its settings, or stopped delivering frames."""

    exit_code = 5


class RuntimeUnavailableError(InspectError, RuntimeError):
    """No TFLite interpreter can run this model on this machine."""

    exit_code = 6


class BrokerError(InspectError, OSError):
    """The MQTT broker cannot be reached or refuses this client."""

    exit_code = 7


class DataError(InspectError, ValueError):
    """A picture or a data set cannot be used."""

    exit_code = 8


class DeployError(InspectError, RuntimeError):
    """A device did not take what was pushed to it."""

    exit_code = 9


EXIT_CODES = """exit codes:
  0  success             5  camera             9  deployment failed
  1  unexpected error    6  no usable runtime  130  interrupted (Ctrl-C)
  2  wrong command line  7  MQTT broker
  3  configuration       8  pictures or data set
  4  model bundle
"""
"""The same table for the epilogue of every command's --help."""


def run_command(program: str, command: Callable[[], int]) -> int:
    """Run one console command; a deliberate error becomes one line on stderr and its exit code."""
    try:
        return command()
    except InspectError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Who read our output went away: nothing is left to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_CLOSED
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return INTERRUPTED
