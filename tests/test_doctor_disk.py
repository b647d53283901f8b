"""What doctor says of the state folder, its disk, the devices' files and the service: both sides of each finding."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_doctor_machine import states
from test_heat import write

from edge.config import Config
from edge.doctor import disk, mounts, service, units
from edge.doctor.account import Account, judge_nodes, judge_user, may
from edge.doctor.finding import Patient
from edge.ledger.claim import Claim
from edge.sections.cameras import SyntheticConfig

NOBODY = Account(name="nobody", uid=65534, groups=frozenset({65534}))
MOUNTINFO = """\
22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw
23 22 0:21 / /run rw shared:2 - tmpfs tmpfs rw,size=100k
24 22 179:1 / /boot/firm\\040ware ro,relatime - vfat /dev/mmcblk0p1 rw
nonsense
"""


def test_mounts(tmp_path: Path) -> None:
    """The nearest mount counts, escapes are undone, and what is no mount is passed over."""
    write(tmp_path, "proc/self/mountinfo", MOUNTINFO)
    for path, point in (
        ("/var/lib", "/"),
        ("/run/a", "/run"),
        ("/runfoo", "/"),
        ("/boot/firm ware/x", "/boot/firm ware"),
    ):
        found = mounts.mount_of(tmp_path, path)
        assert found is not None
        assert found.point == point
    assert mounts.mount_of(tmp_path / "nowhere", "/") is None


@pytest.mark.parametrize(
    ("kind", "options", "state"),
    [
        ("ext4", "rw,noatime", "ok"),
        ("ext4", "ro", "problem"),
        ("ext4", "rw,barrier=0", "warning"),
        ("overlay", "rw", "warning"),
        ("tmpfs", "rw", "warning"),
        ("vfat", "rw", "warning"),
        ("nfs4", "rw", "problem"),
    ],
)
def test_file_systems(kind: str, options: str, state: str) -> None:
    """A database needs a file system that locks, keeps what it took, and is not read-only."""
    mount = mounts.Mount(device="8:1", point="/data", kind=kind, options=frozenset(options.split(",")))
    assert states(disk.judge_mount(mount)) == [("file system", state)]


@pytest.mark.parametrize(
    ("free", "budget", "used", "inodes", "state"),
    [
        (2000, 1024, 0, 1, "ok"),
        (600, 1024, 0, 1, "warning"),
        (600, 1024, 500, 1, "ok"),
        (15, 0, 0, 1, "problem"),
        (2000, 0, 0, 0, "problem"),
    ],
)
def test_room(free: int, budget: int, used: int, inodes: int, state: str) -> None:
    """What the ledger may yet take has to fit, less what it has already."""
    assert states(disk.judge_room(free << 20, budget << 20, used << 20, inodes)) == [("disk", state)]


@pytest.mark.parametrize(
    ("name", "life", "end", "expected"),
    [
        ("mmcblk0", "0x01 0x02", 1, ["ok"]),
        ("mmcblk0", "0x09 0x02", 1, ["warning"]),
        ("mmcblk0", "0x01 0x01", 2, ["warning"]),
        ("mmcblk0", "0x0b 0x01", 1, ["problem"]),
        ("mmcblk0", "0x01 0x01", 3, ["problem"]),
        ("mmcblk0", "", None, ["skipped"]),
        ("sda", "", None, []),
    ],
)
def test_wear(name: str, life: str, end: int | None, expected: list[str]) -> None:
    """An eMMC that is nearly used up is a warning, one that is used up a problem."""
    assert [state for _, state in states(disk.judge_wear(name, life, end))] == expected


def test_a_slow_disk() -> None:
    """A card that takes half a second for one page is sick."""
    assert disk.judge_sync(0.02).state == "ok"
    assert states(disk.judge_sync(0.7)) == [("sync", "warning")]


def test_the_state_folders_owner(tmp_path: Path) -> None:
    """The daemon's user has to be able to write there; others do not matter."""
    tmp_path.chmod(0o700)
    assert disk.judge_folder(NOBODY, tmp_path, tmp_path.stat()).state == "problem"
    tmp_path.chmod(0o777)
    assert disk.judge_folder(NOBODY, tmp_path, tmp_path.stat()).state == "ok"


def test_a_state_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """One that is not there yet is in order only where the daemon's user can make it."""
    tmp_path.chmod(0o700)
    (tmp_path / "file").touch()
    places = [tmp_path / name for name in ("new", "new/new", "file", "file/new")]
    assert [disk.judge_place(NOBODY, each).state for each in places] == ["problem"] * 4
    tmp_path.chmod(0o777)
    assert [disk.judge_place(NOBODY, each).state for each in places] == ["ok", "ok", "problem", "problem"]


def test_the_services_sandbox_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that its user owns is a problem where the unit's own rules make it read-only."""
    patient = Patient(config=Config(bundle=tmp_path, camera=SyntheticConfig(), state_dir=tmp_path))
    tmp_path.chmod(0o777)
    unit = LOADED | {"ProtectSystem": "strict", "StateDirectory": "edge-inspect", "ReadWritePaths": ""}
    for changes, expected in (
        ({}, "problem"),
        ({"ReadWritePaths": f"-{tmp_path}"}, "ok"),
        ({"ProtectSystem": ""}, "ok"),
    ):
        monkeypatch.setattr(units, "show", lambda _, shown=unit | changes: [units.Unit(shown)])
        assert states(disk.state(patient)) == [("state folder", expected)]
    assert units.Unit(unit).may_write(Path("/var/lib/edge-inspect/left"))


def test_a_service_that_was_never_started_has_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the one of who asks: the service's is examined, though only its first start makes it."""
    monkeypatch.setattr(disk, "OF_THE_SERVICE", Path("/var/lib/edge-inspect-new"))
    monkeypatch.setattr(units, "show", lambda _: [units.Unit(LOADED | {"StateDirectory": "edge-inspect-new"})])
    (found,) = disk.state(Patient(config=Config(bundle=tmp_path, camera=SyntheticConfig())))
    assert found.says == "/var/lib/edge-inspect-new is not there yet: the first start makes it"


LOADED = {"Id": "edge-inspect.service", "LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active"}
LOADED |= {"WatchdogUSec": "30s", "NRestarts": "0", "SubState": "running", "Result": "success"}


def test_whose_turn_a_mode_is(tmp_path: Path) -> None:
    """The owner's bits count for the owner, the group's for its members, whatever the others may."""
    tmp_path.chmod(0o047)
    entry = tmp_path.stat()
    owner = Account(name="o", uid=entry.st_uid or 1, groups=frozenset())
    member = Account(name="m", uid=12345, groups=frozenset({entry.st_gid}))
    if entry.st_uid:
        assert not may(owner, entry, 4)
    assert (may(member, entry, 4), may(member, entry, 6), may(NOBODY, entry, 7)) == (True, False, True)
    assert may(Account(name="root", uid=0, groups=frozenset()), entry, 7)


def test_who_asks() -> None:
    """Root and the daemon's user see all; another is told that he does not."""
    assert states(judge_user(NOBODY, 0)) == [("user", "ok")]
    assert states(judge_user(NOBODY, 65534)) == [("user", "ok")]
    assert states(judge_user(NOBODY, 1000)) == [("user", "warning")]


def test_device_files(tmp_path: Path) -> None:
    """A file that the daemon's user may not open is a problem that names the group; no file, no finding."""
    node = tmp_path / "video0"
    node.touch()
    node.chmod(0o660)
    (found,) = judge_nodes("camera device", NOBODY, [node])
    assert found.state == "problem"
    # Nobody becomes a member of root's group, nor of one that may not use it either.
    assert ("udev" in found.remedy) == (node.stat().st_gid == 0)
    if os.geteuid() == 0:
        os.chown(node, -1, NOBODY.uid - 1)
        (found,) = judge_nodes("camera device", NOBODY, [node])
        assert f"usermod -aG {NOBODY.uid - 1} nobody" in found.remedy
    node.chmod(0o600)
    (found,) = judge_nodes("camera device", NOBODY, [node])
    assert "udev" in found.remedy
    node.chmod(0o666)
    assert states(judge_nodes("camera device", NOBODY, [node])) == [("camera device", "ok")]
    assert list(judge_nodes("camera device", NOBODY, [tmp_path / "none"])) == []


def test_a_running_daemon_is_seen(tmp_path: Path) -> None:
    """Whether a daemon has the state folder is asked of the kernel, and taking the lock is not how."""
    patient = Patient(config=Config(bundle=tmp_path, camera=SyntheticConfig(), state_dir=tmp_path))
    assert not disk.daemon_runs(patient)
    claim = Claim(tmp_path)
    assert disk.daemon_runs(patient)
    claim.close()
    assert not disk.daemon_runs(patient)


def test_who_has_a_file_open_is_named(tmp_path: Path) -> None:
    """A program that has a camera's file open is found by name; this one is not counted."""
    from edge.doctor.camera import _users

    node = tmp_path / "video0"
    node.touch()
    write(tmp_path, "proc/4711/comm", "wireplumber\n")
    for process in ("4711", str(os.getpid())):
        (tmp_path / "proc" / process / "fd").mkdir(parents=True)
        (tmp_path / "proc" / process / "fd" / "7").symlink_to(Path(os.path.realpath(node)))
    assert _users(tmp_path, [node]) == ["wireplumber (4711)"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("service", "ok")]),
        ({"LoadState": "not-found"}, [("service", "warning")]),
        ({"ActiveState": "failed", "ExecMainStatus": "3"}, [("service", "problem")]),
        ({"ActiveState": "inactive"}, [("service", "warning")]),
        ({"ActiveState": "activating", "SubState": "start"}, [("service", "warning")]),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, [("service", "problem")]),
        ({"ActiveState": "activating", "SubState": "auto-restart-queued"}, [("service", "problem")]),
        ({"UnitFileState": "disabled"}, [("service", "ok"), ("service start", "warning")]),
        ({"WatchdogUSec": "infinity"}, [("service", "ok"), ("watchdog", "warning")]),
        ({"NRestarts": "7"}, [("service", "ok"), ("restarts", "warning")]),
    ],
)
def test_service(changes: dict[str, str], expected: list[tuple[str, str]]) -> None:
    """A unit that failed or ends again and again is a problem; all else that is not as it should be a warning."""
    assert states(service.judge_unit(LOADED | changes)) == expected


def test_units_are_read_as_systemctl_shows_them() -> None:
    """Instances make the plain unit's absence no matter; without them it is what there is to say."""
    shown = "Id=edge-inspect.service\nLoadState=not-found\n\nId=edge-inspect@a.service\nLoadState=loaded\nUser=x=y\n"
    (found,) = units.parse(shown)
    assert (found.values["Id"], found.values["User"]) == ("edge-inspect@a.service", "x=y")
    assert [unit.is_installed for unit in units.parse(shown.partition("\n\n")[0])] == [False]
    assert units.parse("") == []


def test_journal(tmp_path: Path) -> None:
    """The strongest drop-in counts: Raspberry Pi OS' volatile one, until somebody puts another over it."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "var/log/journal").mkdir(parents=True)
    patient = Patient(root=tmp_path)
    assert states(service.journal(patient)) == [("journal", "ok")]
    write(tmp_path, "usr/lib/systemd/journald.conf.d/40-rpi.conf", "[Journal]\nStorage=volatile\n")
    assert states(service.journal(patient)) == [("journal", "warning")]
    write(tmp_path, "etc/systemd/journald.conf.d/edge.conf", "[Journal]\nStorage = persistent\nSystemMaxUse=200M\n")
    (found,) = service.journal(patient)
    assert (found.state, "200M" in found.says) == ("ok", True)
    (tmp_path / "etc/systemd/journald.conf.d/edge.conf").unlink()
    write(tmp_path, "etc/systemd/journald.conf.d/40-rpi.conf", "#Storage=volatile\n")
    assert states(service.journal(patient)) == [("journal", "ok")]
