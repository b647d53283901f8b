"""What the console commands share: their look, their exit codes, and how an error leaves them."""

from __future__ import annotations

import argparse
import errno
import io
import math
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import InspectError
from edge.journal import ERROR, NOTICE, prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OUTPUT_CLOSED = 141
"""Exit code when the reader of our output is gone, as shells report it (128 + SIGPIPE)."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells report it (128 + SIGINT)."""
RESTART = 75
"""Exit code that asks the service manager for a new start (EX_TEMPFAIL of sysexits.h)."""
EXIT_CODES = """exit codes:
  0  success             5  camera                9  deployment failed
  1  unexpected error    6  no usable runtime    10  ledger
  2  wrong command line  7  MQTT broker          75  asked to start anew
  3  configuration       8  pictures or data set  130  interrupted (Ctrl-C)
  4  model bundle        141  output closed (head)
"""
_ABOUT_A_PATH = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
    *(errno.ELOOP, errno.ENAMETOOLONG),
)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_THREAD = "can't start new thread"
"""All that Python says of it."""
_STOPS = (signal.SIGTERM, signal.SIGHUP)


def run_command(program: str, command: Callable[[], int]) -> int:
    """Run one console command; a deliberate error becomes one line on stderr and its exit code."""
    before = signal.getsignal(signal.SIGINT)
    try:
        if before is signal.SIG_DFL:  # As edge.early left it.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return _end_of(program, command)
    finally:
        signal.signal(signal.SIGINT, before)  # What is left is Python's own end, which would show a traceback too.


def _end_of(program: str, command: Callable[[], int]) -> int:
    _stand_in_for_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # Not every terminal speaks UTF-8.
    try:
        return command()
    except InspectError as error:
        _say(program, str(error))
        return error.exit_code
    except BrokenPipeError:
        _abandon_output()  # Who read it went away: nothing is left to say, and nobody to say it to.
        return OUTPUT_CLOSED
    except KeyboardInterrupt:
        _say(program, "interrupted", NOTICE)
        return INTERRUPTED
    except (MemoryError, RuntimeError) as error:
        if (shortage := _shortage(error)) is None:
            raise
        _say(program, shortage)
        return InspectError.exit_code
    except OSError as error:
        if (remedy := _remedy(error)) is None:
            raise
        if error.filename is None:
            _abandon_output()
        _say(program, f"{error.filename or 'the output'}: {error.strerror}; {remedy}")
        return InspectError.exit_code


@contextmanager
def ended_as_interrupted() -> Iterator[None]:
    """Let a closed terminal, unless nohup ignores it, or a plain kill end what runs here as Ctrl-C does: tidied up.

    The tidying may take a while and is not broken off by more of these, only by Ctrl-C.
    """
    asked = [each for each in _STOPS if signal.getsignal(each) is not signal.SIG_IGN]
    handlers = {each: signal.signal(each, _interrupt) for each in asked}
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


def make_parser(program: str, description: str, examples: str = "") -> argparse.ArgumentParser:
    """Return a program's parser; its --help ends with the examples and the exit codes."""
    return argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=examples + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    *,
    summary: str,
    description: str = "",
    examples: str = "",
) -> argparse.ArgumentParser:
    """Add a program's command, described by its summary unless there is more to say, and return its parser."""
    return commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the device's configuration."""
    parser.add_argument("--config", type=to_path, required=True, metavar="FILE", help="the device's TOML file")


def to_count(text: str) -> int:
    """Read an argument that is a number from 0; raises ArgumentTypeError, which argparse tells."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return int(text)


def to_path(text: str) -> Path:
    """Read an argument that is a path; the empty one, which would mean the working folder, is refused."""
    if not text:
        raise argparse.ArgumentTypeError("an empty path; is a shell variable not set?")
    return Path(text)


def to_positive(unit: str) -> Callable[[str], float]:
    """Return a reader of an argument that is a finite number of `unit` above 0."""

    def read(text: str) -> float:
        """Return the number; raises ArgumentTypeError, which argparse tells."""
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of {unit} above 0")
        return number

    return read


def printable(text: str) -> str:
    """Return a text as one line that a terminal survives."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _interrupt(*_: object) -> None:
    for each in _STOPS:
        if signal.getsignal(each) is _interrupt:
            # Not SIG_IGN: children inherit that, and Python complains of a signal that came together with this one.
            signal.signal(each, _let_pass)
    raise KeyboardInterrupt


def _let_pass(*_: object) -> None:
    """Leave a stop signal at that: an earlier one is being obeyed."""


def _remedy(error: OSError) -> str | None:
    """Return what to do about an error of the file system that is nobody's bug; None for any other."""
    if error.errno in _DISK_FULL:
        return "make room, then run it again"
    if error.errno in _ABOUT_A_PATH and error.filename is not None:
        return "name another path, or let this user use it"
    return None


def _shortage(error: MemoryError | RuntimeError) -> str | None:
    """Return what to do where the device has no room for what is asked; None for any other error."""
    if isinstance(error, MemoryError):
        says = f" ({error})" if str(error) else ""
        return f"not enough memory{says}; ask for less at once, such as smaller pictures, or stop other programs"
    if str(error) == _NO_THREAD:
        return f"{error}: memory is short, or there are too many; stop other programs, or raise TasksMax="
    return None


def _say(program: str, message: str, priority: int = ERROR) -> None:
    """Print one line, whatever a file's name or a stranger's file put into it.

    To stderr even where the log goes to the journal itself, which cannot tell whose a line is once its process is gone.
    """
    print(f"{prefix(priority)}{program}: {printable(message)}", file=sys.stderr)


def _stand_in_for_closed_streams() -> None:
    """Keep the numbers of closed standard streams from the next files: what libraries print would land in these."""
    stdin, stdout, stderr = range(3)
    while (number := os.open(os.devnull, os.O_RDWR)) <= stderr:
        pass
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(stdin)
    sys.stdout = sys.stdout or os.fdopen(stdout, "w")
    sys.stderr = sys.stderr or os.fdopen(stderr, "w")


def _abandon_output() -> None:
    """Let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
