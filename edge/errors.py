"""Every deliberate error, each with the exit code that the commands end with.

    InspectError                     1
    ├── ConfigError (ValueError)     3  the device's configuration is wrong
    ├── BundleError (ValueError)     4  a model bundle is missing, damaged or not for this version
    ├── CameraError (OSError)        5  a camera is not there or stopped answering
    ├── RuntimeUnavailableError      6  no interpreter, or it cannot be tried now
    │   └── AcceleratorError            the accelerator, or the process that runs it, failed
    │       └── LateError               it did not answer in time
    ├── BrokerError (OSError)        7  the MQTT broker is unreachable or refuses us
    ├── DataError (ValueError)       8  a picture or a data set cannot be used
    ├── DeployError (RuntimeError)   9  a device did not come back with what was pushed
    ├── LedgerError (OSError)       10  the file that keeps the verdicts cannot be used
    │   ├── ClaimedLedgerError          another process has its folder
    │   ├── DamagedLedgerError          what is in it is not right
    │   └── FullLedgerError             the disk has no room for more
    └── MemoryLimitError            75  the daemon has grown too large, and wants a new start

Besides these: 0 is success, 2 a wrong command line (argparse), 130 an interrupt (Ctrl-C), 141 a closed output (head).
A message is one line: it names the offending value and the remedy.
"""

from __future__ import annotations

from typing import ClassVar


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


class AcceleratorError(RuntimeUnavailableError):
    """The accelerator, or the process that runs it, failed: the CPU can stand in."""


class LateError(AcceleratorError):
    """The process that runs the accelerator did not answer in time."""


class BrokerError(InspectError, OSError):
    """The MQTT broker cannot be reached or refuses this client."""

    exit_code = 7


class DataError(InspectError, ValueError):
    """A picture or a data set cannot be used."""

    exit_code = 8


class DeployError(InspectError, RuntimeError):
    """A device did not take what was pushed to it."""

    exit_code = 9


class LedgerError(InspectError, OSError):
    """The ledger's file cannot be read or written."""

    exit_code = 10


class ClaimedLedgerError(LedgerError):
    """Another process has the ledger's folder, which it may leave at any time."""


class DamagedLedgerError(LedgerError):
    """What is in the ledger's file is not what was written there."""


class UsedNumberError(DamagedLedgerError):
    """The ledger's file has a verdict of this number already, though it did not say so."""


class FullLedgerError(LedgerError):
    """The disk has no room for more of the ledger."""


class MemoryLimitError(InspectError):
    """The daemon has more memory resident than it may, and wants its service manager to start it anew."""

    exit_code = 75


def by_exit_code(code: int) -> type[InspectError]:
    """Return the class of error that a command ended with, as its exit code tells; the base for any other code."""
    return next((kind for kind in InspectError.__subclasses__() if kind.exit_code == code), InspectError)
