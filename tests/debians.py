"""Debians of other versions and machines, each run from a disk of its own by systemd-nspawn.

What one is made of is downloaded once and kept in $EDGE_INSPECT_CACHE (~/.cache/edge-inspect). What is mounted is
mounted for the processes inside only, and gone with them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import PROJECT
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Debian's names for what Python's platform.machine() says."""


@dataclass(frozen=True)
class Debian:
    """A version of Debian for one kind of machine, with these packages."""

    name: str
    """In the cache; its number changes with what is written into it."""
    codename: str
    machine: str
    python: str
    packages: str
    processor: str = ""
    """An entry of its /proc/cpuinfo, without the number; empty: as this machine's."""
    cpu: str = ""
    """What qemu calls it: by default it has all that there is, and with its SME LiteRT's XNNPACK computes nonsense."""


ARM64 = Debian(
    "debian-bookworm-arm64-1",
    "bookworm",
    "aarch64",
    "3.11",
    "python3,python3-venv",
    # A Raspberry Pi 4's: qemu shows programs this machine's own, on which LiteRT's cpuinfo dies of SIGSEGV.
    "Features: fp asimd evtstrm crc32 cpuid\nCPU implementer: 0x41\nCPU architecture: 8\n"
    "CPU variant: 0x0\nCPU part: 0xd08\nCPU revision: 3\n",
    "cortex-a72",
)
TRIXIE = Debian(
    "debian-trixie-1",
    "trixie",
    platform.machine(),
    "3.13",
    "systemd,systemd-sysv,udev,procps,python3,python3-venv,mosquitto,mosquitto-clients,jq,gcc,libc6-dev",
)


def run(*command: str | Path, seconds: float = 60) -> str:
    """Run a command to its good end and return what it prints; fail with what it complains of."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-10_000:]}\n{done.stderr}"
    return done.stdout


def need(command: str, package: str) -> str:
    """Return where a command is, looking where Debian hides it from users; skip if it is nowhere."""
    found = shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{command} is not installed: apt-get install {package}")
    return found


def cache() -> Path:
    """Return the folder for what is downloaded once."""
    folder = Path(os.environ.get("EDGE_INSPECT_CACHE", Path.home() / ".cache" / "edge-inspect"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def rootfs(debian: Debian, finish: Callable[[Path], None] = lambda _: None) -> Path:
    """Return a Debian's root folder, which is not to be written to; skip where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("a systemd-nspawn host needs root")
    need("systemd-nspawn", "systemd-container")
    root = cache() / debian.name
    if not root.is_dir():
        need("debootstrap", "debootstrap")
        kind = f"--arch={_ARCHITECTURES[debian.machine]}"
        with tempfile.TemporaryDirectory(dir=cache()) as scratch:
            fresh = Path(scratch, "root")
            options = (kind, "--variant=minbase", f"--include={debian.packages}")
            fetch(["debootstrap", *options, debian.codename, str(fresh), _mirror()])
            for path in (*fresh.glob("var/cache/apt/archives/*.deb"), *fresh.glob("var/lib/apt/lists/*Packages")):
                path.unlink()
            finish(fresh)
            fresh.rename(root)
    return root


def nspawn(root: Path, disk: Path, *options: str) -> list[str]:
    """Return the command that runs a root folder's copy, whose changes are kept in the folder `disk`."""
    for name in ("upper", "work", "root"):
        (disk / name).mkdir(parents=True, exist_ok=True)
    layers = f"lowerdir={root},upperdir={disk}/upper,workdir={disk}/work"
    mount = f'mount -t overlay -o "{layers}" none "{disk}/root" && exec "$@"'
    container = ("systemd-nspawn", "-q", "-D", f"{disk}/root", "--register=no", "--keep-unit")
    return ["unshare", "--mount", "sh", "-c", mount, "sh", *container, *options]


@dataclass(frozen=True)
class Box:
    """A Debian that nothing boots, without a network, for one command after the other."""

    root: Path
    disk: Path
    folders: tuple[str, ...]
    """What it sees of this machine, as nspawn's --bind-ro has them."""
    before: str = ""
    """What is done at the beginning of each script."""

    def run(self, script: str, seconds: float = 600) -> str:
        """Run a shell script inside to its good end and return what it prints."""
        name = f"inspect-{os.getpid()}"
        options = (f"--machine={name}", "--pipe", "--as-pid2", "--private-network")
        shown = tuple(f"--bind-ro={folder}" for folder in self.folders)
        return run(
            *nspawn(self.root, self.disk, *options, *shown),
            "/bin/sh",
            "-ec",
            f"{self.before}\n{script}",
            seconds=seconds,
        )


@contextmanager
def emulated(machine: str) -> Iterator[None]:
    """Have the kernel run this machine's programs, by qemu where it is another's; afterwards all is as before."""
    entry = _BINFMT / f"qemu-{machine}"
    undo = []
    try:
        if machine != platform.machine() and not entry.exists():
            description = Path(f"/usr/lib/binfmt.d/qemu-{machine}.conf")
            if not description.exists():
                pytest.skip(f"{machine} programs cannot run here: apt-get install qemu-user-static")
            if not (_BINFMT / "register").exists():
                run("mount", "-t", "binfmt_misc", "none", _BINFMT)
                undo.append(lambda: run("umount", _BINFMT))
            (_BINFMT / "register").write_bytes(description.read_bytes())
            undo.append(lambda: entry.write_text("-1"))
        yield
    finally:
        for step in reversed(undo):
            step()


def locked(lock: str, python: str) -> dict[str, str]:
    """Return a lock file's entries for one version of Python on a Raspberry Pi, by name: version and hashes."""
    device = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": "aarch64"}
    entries = {}
    for line in (PROJECT / lock).read_text("utf-8").replace("\\\n", "").splitlines():
        wanted, _, hashes = line.partition(" --hash=")
        if hashes and ((entry := Requirement(wanted)).marker is None or entry.marker.evaluate(device)):
            entries[entry.name] = f"{entry.name}{entry.specifier} --hash={hashes}"
    return entries


def wheelhouse(entries: Sequence[str], python: str, machine: str) -> Path:
    """Return a folder with the wheels of a lock's entries and what they are; skip where they cannot be downloaded."""
    text = "\n".join(entries)
    folder = cache() / f"wheels-{hashlib.sha256(f'{text}{python}{machine}'.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        platforms = [f"--platform=manylinux{abi}_{machine}" for abi in ("_2_28", "_2_27", "_2_34", "2014")]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
        with tempfile.TemporaryDirectory(dir=cache()) as scratch:
            fresh, wanted = Path(scratch, "wheels"), Path(scratch, "requirements.txt")
            wanted.write_text(text)
            # pip download would judge the markers, and what packages need in turn, by the Python it runs on.
            exact = ("--no-deps", f"--python-version={python}", *(["--require-hashes"] if "--hash" in text else []))
            fetch([*command, *exact, *platforms, "-r", str(wanted), "-d", str(fresh)])
            shutil.copy(wanted, fresh)
            fresh.rename(folder)
    return folder


def _mirror() -> str:
    """Return the mirror of Debian that this machine's apt uses."""
    wanted = ("Created-By: Packages", "Origin: Debian", "Label: Debian")
    listing = run("apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted)
    if not listing.strip():
        pytest.skip("apt on this machine knows no mirror of Debian")
    return listing.split()[0]


def fetch(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]} could not download: {(done.stderr or done.stdout).strip()[-200:]}")
