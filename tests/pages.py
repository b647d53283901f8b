"""The shell commands of INTEGRATIONS.md, run as a reader would run them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from conftest import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FOLDER = PROJECT / "deploy" / "integrations"
PAGE = FOLDER / "INTEGRATIONS.md"


def commands() -> list[str]:
    """Return the page's shell blocks, in order."""
    return re.findall(r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def block(word: str) -> str:
    """Return the one block that has a word."""
    (found,) = [each for each in commands() if word in each]
    return found


class Shell:
    """A reader's terminal: his home, his variables, and the words that the page has him define."""

    def __init__(self, home: Path, variables: Mapping[str, str]) -> None:
        self.home = home
        self.environment = {**os.environ, **variables, "HOME": str(home)}
        self.environment.pop("XDG_CONFIG_HOME", None)

    def become(self, variables: Mapping[str, str]) -> None:
        """Change variables of the environment."""
        self.environment.update(variables)

    def run(self, command: str) -> str:
        """Run a command to its good end and return what it prints."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def watch(self, command: str, enough: Callable[[str], bool], seconds: float = 30) -> str:
        """Run a command that does not end until what it printed is enough, press Ctrl-C, and return that."""
        printed = self.home / "printed"
        with printed.open("wb") as file:
            running = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.home,
                env=self.environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        deadline = time.monotonic() + seconds
        try:
            while not enough(printed.read_text("utf-8", "replace")):
                assert running.poll() is None, (command, printed.read_text("utf-8", "replace"))
                assert time.monotonic() < deadline, (command, printed.read_text("utf-8", "replace"))
                time.sleep(0.05)
        finally:
            os.killpg(running.pid, signal.SIGINT)
            running.wait(10)
            kill_after(running.pid, 10)
        return printed.read_text("utf-8", "replace")


def kill_after(group: int, seconds: float) -> None:
    """Give the processes of a group this long to end by themselves."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.02)
        os.killpg(group, signal.SIGKILL)
