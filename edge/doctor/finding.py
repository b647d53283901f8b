"""What a check has found, and what it is told about the device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from edge.command import printable
from edge.errors import ConfigError
from edge.record import Record

if TYPE_CHECKING:
    from edge.config import Config

State: TypeAlias = Literal["ok", "warning", "problem", "skipped"]
"""A warning is something that works and should be mended; a problem keeps the device from judging, now or soon."""
_LONGEST = 400
"""Characters of a finding that come from outside, such as a library's last words."""


class Finding(Record, frozen=True):
    """One thing that was looked at. A warning and a problem have a remedy."""

    check: str
    state: State
    says: str
    remedy: str = ""


class Patient(Record, frozen=True, kw_only=True):
    """What is examined."""

    root: Path = Path("/")
    """Where /sys, /proc, /dev, /etc, /run and /var are."""
    path: Path | None = None
    """The configuration's file; None: only what needs none is examined."""
    config: Config | None = None
    """What it says; None if there is none, or none that can be read."""

    @property
    def configured(self) -> Config:
        """What it says, for checks that need it; raises ConfigError."""
        if self.config is None:
            raise ConfigError("no configuration is named; use --config")
        return self.config


def ok(check: str, says: str) -> Finding:
    """Return that something is as it should be."""
    return _made(check, "ok", says)


def warning(check: str, says: str, remedy: str) -> Finding:
    """Return that something works and should be mended."""
    return _made(check, "warning", says, remedy)


def problem(check: str, says: str, remedy: str) -> Finding:
    """Return that something keeps the device from judging."""
    return _made(check, "problem", says, remedy)


def skipped(check: str, why: str) -> Finding:
    """Return that something was not looked at."""
    return _made(check, "skipped", why)


def blame(check: str, error: Exception, remedy: str) -> Finding:
    """Return a problem in the words of this project's errors, which end in their own remedy; else in the one given."""
    says, _, own = shorten(str(error) or repr(error)).rpartition("; ")
    return problem(check, says, own) if says else problem(check, own, remedy)


def shorten(text: str) -> str:
    """Return a foreign text as one line of bearable length."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def _made(check: str, state: State, says: str, remedy: str = "") -> Finding:
    """Return a finding that JSON and a terminal survive, whatever a path or a library has put into it."""
    return Finding(check, state, printable(says), printable(remedy))
