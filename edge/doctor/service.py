"""The service and its journal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge.doctor import units
from edge.doctor.finding import ok, problem, skipped, warning
from edge.sysfs import matching, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from edge.doctor.finding import Finding, Patient

_NEVER = {"", "0", "infinity"}
_PLACES = ("usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd")
"""Where journald's drop-ins are, the strongest last (journald.conf(5))."""
_DROP_IN = "/etc/systemd/journald.conf.d/edge-inspect.conf"


def service(patient: Patient) -> Iterator[Finding]:
    """Whether the unit is installed, enabled and at work, watched, and does not start again and again."""
    if not units.runs_systemd(patient.root):
        yield skipped("service", "systemd does not run here")
        return
    found = units.show(patient.root)
    if not found:
        yield problem("service", "systemctl does not answer", "look at its journal (journalctl -b -u init.scope)")
    for unit in found:
        yield from judge_unit(unit.values)


def judge_unit(unit: Mapping[str, str]) -> Iterator[Finding]:
    """Judge one unit by its properties."""
    name = unit.get("Id", "edge-inspect.service")
    load, state = unit.get("LoadState", ""), unit.get("ActiveState", "")
    if load != "loaded":
        remedy = "install it with edge-deploy push, or by hand from systemd/"
        yield warning("service", f"{name} is not installed ({load or 'unknown'})", remedy)
        return
    since = f"({unit.get('SubState', '')}, {unit.get('Result', '')})"
    if state == "failed":
        remedy = f"journalctl -u {name} -n 20 says what to mend; then systemctl restart {name}"
        yield problem("service", f"{name} has failed {since}, exit code {unit.get('ExecMainStatus', '?')}", remedy)
    elif state in {"active", "reloading"}:
        yield ok("service", f"{name} is active {since}")
    elif unit.get("SubState", "").startswith("auto-restart"):
        remedy = f"journalctl -u {name} -n 20 says what to mend"
        yield problem("service", f"{name} ends again and again {since}, and waits for its next start", remedy)
    elif state == "activating":
        yield warning("service", f"{name} is just starting {since}", "ask again in a minute")
    else:
        yield warning("service", f"{name} is {state or 'unknown'} {since}", f"systemctl start {name}")
    if unit.get("UnitFileState") not in {"enabled", "enabled-runtime", "static", "generated"}:
        says = f"{name} is {unit.get('UnitFileState') or 'not enabled'}: a restarted device would not judge"
        yield warning("service start", says, f"systemctl enable {name}")
    if unit.get("WatchdogUSec", "") in _NEVER:
        yield warning(
            "watchdog", f"{name} has no watchdog", "set WatchdogSec=30: a hang would last until somebody comes"
        )
    if unit.get("NRestarts", "0") not in {"0", ""}:
        says = f"{name} started anew by itself, so often: {unit['NRestarts']}"
        yield warning("restarts", says, f"journalctl -u {name} --grep='edge-inspect:' says why")


def journal(patient: Patient) -> Iterator[Finding]:
    """Whether the log outlives a restart, and has a limit."""
    if not units.runs_systemd(patient.root):
        yield skipped("journal", "systemd does not run here")
        return
    settings = journald_settings(_texts(patient.root))
    yield judge_journal(settings, has_folder=(patient.root / "var/log/journal").is_dir())


def _texts(root: Path) -> Iterator[str]:
    """Yield journald's files, the strongest last: drop-ins by their names, wherever they are."""
    main = [root / place / "journald.conf" for place in _PLACES]
    yield text(next((path for path in reversed(main) if path.exists()), main[-1]))
    drop_ins = {path.name: path for place in _PLACES for path in matching(root / place, "journald.conf.d/*.conf")}
    yield from (text(drop_ins[name]) for name in sorted(drop_ins))


def journald_settings(texts: Iterable[str]) -> dict[str, str]:
    """Return journald's keys and values of its files; an empty value resets a key."""
    found = [pair for each in texts for pair in re.findall(r"^\s*(\w+)\s*=[ \t]*(.*?)\s*$", each, re.MULTILINE)]
    return {key: value for key, value in dict(found).items() if value}


def judge_journal(settings: Mapping[str, str], *, has_folder: bool) -> Finding:
    """Judge journald's settings."""
    storage = settings.get("Storage", "auto")
    if storage == "persistent" or (storage == "auto" and has_folder):
        limit = settings.get("SystemMaxUse", "a tenth of the disk, 4 GiB at most")
        return ok("journal", f"kept on the disk, limit: {limit}")
    says = f"the journal is lost with each restart (Storage={storage})"
    remedy = (
        f"Storage=persistent and SystemMaxUse=200M below [Journal] in {_DROP_IN}; systemctl restart systemd-journald"
    )
    return warning("journal", says, remedy)
