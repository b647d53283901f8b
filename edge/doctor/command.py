"""`edge-inspect doctor`: every check in order, a line or more for each."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import msgspec

from edge import __version__, clock
from edge.command import to_path
from edge.doctor.checks import CHECKS, CONFIGURATION
from edge.doctor.finding import Finding, Patient, skipped
from edge.doctor.ward import examine

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from edge.doctor.ward import Check

_WIDTH = 16
"""Of the column with the checks' names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what this command takes."""
    parser.add_argument("--config", type=to_path, metavar="FILE", help="the device's TOML file: examine all it names")
    parser.add_argument("--json", action="store_true", help="print one JSON object, at the end")


def run(arguments: argparse.Namespace) -> int:
    """Print what is found; returns 0, or the exit code of the first problem's kind."""
    # Before numpy is loaded, here or in a child: threads of its own would be lost in a fork.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    tell: Callable[[Finding], None] = (lambda _: None) if arguments.json else _print
    found = [(check, finding) for check, finding in _examined(CHECKS, arguments.config, tell)]
    findings = [finding for _, finding in found]
    if arguments.json:
        said = {"findings": findings, "version": __version__, "time": clock.now()}
        print(msgspec.json.encode(said).decode())
    else:
        print(summary(findings))
    return next((check.kind.exit_code for check, finding in found if finding.state == "problem"), 0)


def _examined(
    checks: Iterable[Check], path: Path | None, tell: Callable[[Finding], None]
) -> Iterable[tuple[Check, Finding]]:
    patient = Patient(path=path)
    bad: set[str] = set()
    for check in checks:
        why = _why_not(check, patient, bad)
        found = examine(check, patient) if why is None else [skipped(check.name, why)] if why else []
        for finding in found:
            tell(finding)
            yield check, finding
        is_bad = any(finding.state == "problem" for finding in found)
        if is_bad or (why and patient.config):
            bad.add(check.name)
        if check is CONFIGURATION and path and not (is_bad or why):
            from edge.config import load  # It just was loaded in a child, so that this is safe.

            patient = Patient(path=path, config=load(path))


def _why_not(check: Check, patient: Patient, bad: set[str]) -> str | None:
    """Return why a check is left out, empty where nobody has asked for it; None if it is not."""
    if check.configured and patient.config is None:
        return "it needs the configuration, which cannot be read" if patient.path else ""
    return next((f"first mend: {name}" for name in check.needs if name in bad), None)


def _print(finding: Finding) -> None:
    mark = finding.state.upper() if finding.state == "problem" else finding.state
    print(f"{mark:<8}{finding.check:<{_WIDTH}}{finding.says}")
    if finding.remedy:
        print(f"{'':<{8 + _WIDTH}}-> {finding.remedy}")
    sys.stdout.flush()  # It is watched.


def summary(findings: Iterable[Finding]) -> str:
    """Return one line that counts."""
    states = [finding.state for finding in findings]
    counts = {"problem": states.count("problem"), "warning": states.count("warning")}
    found = ", ".join(f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count)
    return f"{found or 'nothing wrong'}; {states.count('ok')} ok, {states.count('skipped')} skipped"
