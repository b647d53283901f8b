"""Ctrl-C at any moment of a command's start and end: no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import count

import pytest

_STRIKES = """
import os, sys

package, at = sys.argv[1], int(sys.argv[2])
seen = 0

def strike(event, arguments):
    global seen
    if event == "import" and "edge.early" in sys.modules:
        seen += 1
        if seen == at:
            os.kill(os.getpid(), 2)

sys.addaudithook(strike)
sys.argv = ["program", *sys.argv[3:]]
main = __import__(f"{package}.__main__", fromlist=["main"]).main
sys.exit(main())
"""
"""Presses Ctrl-C at one of the imports behind that of edge.early."""
_AT_THE_END = """
import edge.early
import atexit, os, sys
from edge.command import run_command
atexit.register(os.kill, os.getpid(), 2)
sys.exit(run_command("edge-test", lambda: 0))
"""
STRIDE = 3
"""From import to import in the short form: each costs a whole start."""
QUIET = {-signal.SIGINT, 130}


@pytest.mark.parametrize(
    ("package", "name", "arguments", "code"),
    [
        ("edge", "edge-inspect", ["check", "--config", "nowhere.toml"], 3),
        ("training", "edge-train", ["keygen"], 2),
        ("deploy", "edge-deploy", ["push"], 2),
    ],
)
def test_an_interrupt_at_any_import_shows_no_traceback(
    package: str, name: str, arguments: list[str], code: int, *, soak: bool
) -> None:
    """Whatever a command imports just then, Ctrl-C ends it with what shells report as 130 and one line at most."""
    for at in count(1, 1 if soak else STRIDE):
        command = [sys.executable, "-c", _STRIKES, package, str(at), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == code:  # There is no such import any more: it went its way.
            break
        assert done.returncode in QUIET, done.stderr
        assert done.stderr in {"", f"{name}: interrupted\n"}
    assert at > 20


def test_an_interrupt_while_python_ends_shows_no_traceback() -> None:
    """Behind the command's own end Ctrl-C ends what is left without a word."""
    done = subprocess.run([sys.executable, "-c", _AT_THE_END], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_what_a_shell_had_ignored_stays_ignored() -> None:
    """A command that was started deaf to Ctrl-C, as in the background of a script, is not ended by it."""
    line = 'trap "" INT; exec "$@"'
    command = ["sh", "-c", line, "sh", sys.executable, "-c", _STRIKES, "edge", "5", "check", "--config", "nowhere.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
