"""Who will run the daemon, and what that user may reach."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from typing import TYPE_CHECKING

from edge.doctor import units
from edge.doctor.finding import ok, problem, warning
from edge.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from edge.doctor.finding import Finding, Patient

_GROUPS = stat.S_IRGRP | stat.S_IWGRP
RULES = "install the udev rules of systemd/ (udevadm control --reload), and plug it in again or restart"


class Account(Record, frozen=True, kw_only=True):
    """A user with all groups."""

    name: str
    uid: int
    groups: frozenset[int]


def user(patient: Patient) -> Iterator[Finding]:
    """Whether who asks may see all that is examined."""
    yield judge_user(of_daemon(patient.root), os.geteuid())


def judge_user(account: Account, asking: int) -> Finding:
    """Judge who asks, by what the daemon is or would be: others may not read its keys, verdicts and devices."""
    if asking in {0, account.uid}:
        return ok("user", f"asked by {_name(asking)}, the daemon is {account.name}'s")
    remedy = "use sudo: what this user may not see is skipped, or seems a problem"
    return warning("user", f"asked by {_name(asking)}, but the daemon is {account.name}'s", remedy)


def of_daemon(root: Path) -> Account:
    """Return the service's user where the service is installed, with the groups of its unit; else who asks."""
    unit = next((each for each in units.show(root) if each.is_installed), None)
    if unit is None:
        return Account(name=_name(os.geteuid()), uid=os.geteuid(), groups=frozenset([os.getegid(), *os.getgroups()]))
    name = unit.values.get("User") or "root"
    extra = {found for group in unit.values.get("SupplementaryGroups", "").split() if (found := _group(group))}
    try:
        entry = pwd.getpwnam(name)
    except KeyError:  # DynamicUser: it is there while the service runs.
        return Account(name=name, uid=-1, groups=frozenset(extra))
    return Account(name=name, uid=entry.pw_uid, groups=frozenset([*os.getgrouplist(name, entry.pw_gid), *extra]))


def may(account: Account, entry: os.stat_result, wanted: int) -> bool:
    """Say whether a user may do `wanted`, bits of 4 (read), 2 (write), 1 (enter), by the mode of a file or folder."""
    if account.uid == 0:
        return True
    if account.uid == entry.st_uid:
        shift = 6
    elif entry.st_gid in account.groups:
        shift = 3
    else:
        shift = 0
    return (stat.S_IMODE(entry.st_mode) >> shift) & wanted == wanted


def judge_nodes(check: str, account: Account, nodes: Iterable[Path]) -> Iterator[Finding]:
    """Judge whether a user may use devices' files; one finding for all of them."""
    seen = [(node, entry) for node in nodes if (entry := _stat(node)) is not None]
    closed = [(node, entry) for node, entry in seen if not may(account, entry, 6)]
    if closed:
        node, entry = closed[0]
        yield problem(check, f"user {account.name} may not use {node}", _way_in(account, entry))
    elif seen:
        yield ok(check, f"user {account.name} may use {', '.join(str(node) for node, _ in seen[:3])}")


def _way_in(account: Account, entry: os.stat_result) -> str:
    """Return how a user gets to use a device: never by becoming a member of root's group."""
    group = _group_name(entry.st_gid)
    if entry.st_gid == 0 or entry.st_gid in account.groups or entry.st_mode & _GROUPS != _GROUPS:
        return RULES
    return f"usermod -aG {group} {account.name}, then start its session or service anew"


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
