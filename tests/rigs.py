"""Throw-away machines for tests: an sshd on this machine, and a whole Debian 12 host booted by systemd-nspawn.

What such a machine is made of is downloaded once and kept in $EDGE_INSPECT_CACHE (~/.cache/edge-inspect).
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import PROJECT, free_port, wait_for_port
from packaging.requirements import Requirement

from deploy.program import REQUIREMENTS_WITH_CAMERA

if TYPE_CHECKING:
    from collections.abc import Sequence

STATION = "station-1"
FITTER = "fitter"
_ROOTFS = "rootfs-bookworm-1"
"""Its number changes with what `_finish_rootfs` writes."""
_PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,openssh-server,iproute2,udev,procps,sudo"
_BOOT_SECONDS = 60


def run(*command: str | Path, seconds: float = 60) -> str:
    """Run a command to its good end and return what it prints; fail with what it complains of."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
    return done.stdout


def deploy(*arguments: str | Path, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    """Run edge-deploy as an operator does, in a process of its own."""
    command = [sys.executable, "-m", "deploy", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, check=False
    )


def make_key(folder: Path, name: str = "key") -> Path:
    """Make an ssh key without a passphrase; its public half is beside it."""
    need("ssh-keygen", "openssh-client")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    return folder / name


def need(command: str, package: str) -> str:
    """Return where a command is, looking where Debian hides it from users; skip if it is nowhere."""
    found = shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{command} is not installed: apt-get install {package}")
    return found


@dataclass(frozen=True)
class Sshd:
    """A real sshd on a free port of this machine, for this user."""

    port: int
    key: Path
    known_hosts: Path
    process: subprocess.Popen[bytes]


def start_sshd(folder: Path) -> Sshd:
    """Start one that lets the fresh key `key` in; its own key is the only one in `known_hosts`."""
    sshd = need("sshd", "openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    folder.chmod(0o700)
    key, host_key, port = make_key(folder), make_key(folder, "host_key"), free_port()
    settings = folder / "sshd_config"
    settings.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {key}.pub\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nSubsystem sftp internal-sftp\n"
    )
    process = subprocess.Popen([sshd, "-D", "-e", "-f", str(settings)], stderr=subprocess.DEVNULL)
    wait_for_port(port, process)
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {Path(f'{host_key}.pub').read_text()}")
    return Sshd(port, key, known_hosts, process)


@dataclass(frozen=True)
class Station:
    """A Debian host with systemd, sshd and no internet, reached over a network cable of its own."""

    folder: Path
    address: str
    gateway: str
    """This machine, as the station reaches it."""
    namespace: str
    process: subprocess.Popen[bytes]

    @property
    def key(self) -> Path:
        """Logs in as `fitter`, who may sudo, and as root."""
        return self.folder / "key"

    @property
    def known_hosts(self) -> Path:
        """Holds the station's host key only."""
        return self.folder / "known_hosts"

    def shell(self, command: str) -> str:
        """Run a command as root over ssh and return what it prints."""
        options = ("-i", str(self.key), "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "BatchMode=yes")
        return run("ssh", *options, f"root@{self.address}", command)

    def pull_the_cable(self) -> None:
        """Lose every packet from now on, without a word to either side."""
        run("ip", "link", "set", f"{self.namespace}h", "down")

    def plug_the_cable(self) -> None:
        """Put the cable back."""
        run("ip", "link", "set", f"{self.namespace}h", "up")

    def stop(self) -> None:
        """Switch it off and unplug it; nothing of it stays."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        run("ip", "netns", "del", self.namespace)


def start_station(folder: Path) -> Station:
    """Boot a fresh station; skips where that cannot be."""
    rootfs = _rootfs()
    key = make_key(folder)
    gateway, address, namespace = lay_cable()
    command = (
        *("systemd-nspawn", "-q", "-D", str(rootfs), "--volatile=overlay", "--boot", f"--machine={namespace}"),
        *("--register=no", "--keep-unit", "--console=pipe", f"--network-namespace-path=/run/netns/{namespace}"),
        f"--bind-ro={key}.pub:/etc/ssh/rig_keys",
    )
    log = folder / "boot.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    station = Station(folder, address, gateway, namespace, process)
    if not _answers(address, process):
        station.stop()
        pytest.skip(f"systemd-nspawn cannot boot here: {log.read_text(errors='replace')[-200:].strip()}")
    host_key = (rootfs / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    station.known_hosts.write_text(f"{address} {host_key}")
    return station


def locked(lock: str, python: str) -> dict[str, str]:
    """Return a lock file's entries for one version of Python on a Raspberry Pi, by name: version and hashes."""
    device = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": "aarch64"}
    entries = {}
    for line in (PROJECT / lock).read_text("utf-8").replace("\\\n", "").splitlines():
        wanted, _, hashes = line.partition(" --hash=")
        if hashes and ((entry := Requirement(wanted)).marker is None or entry.marker.evaluate(device)):
            entries[entry.name] = f"{entry.name}{entry.specifier} --hash={hashes}"
    return entries


def wheelhouse() -> Path:
    """Return a folder with the locked packages' wheels for a station; skip where they cannot be downloaded."""
    # pip download would judge the markers by the Python it runs on.
    lock = "\n".join(locked(REQUIREMENTS_WITH_CAMERA, "3.11").values())
    folder = _cache() / f"wheels-{hashlib.sha256(lock.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        platforms = [f"--platform=manylinux{abi}_{platform.machine()}" for abi in ("_2_28", "_2_27", "2014")]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--python-version=3.11"]
        with tempfile.TemporaryDirectory(dir=_cache()) as scratch:
            fresh, wanted = Path(scratch, "wheels"), Path(scratch, "requirements.txt")
            wanted.write_text(lock)
            _fetch([*command, *platforms, "--require-hashes", "-r", str(wanted), "-d", str(fresh)])
            fresh.rename(folder)
    return folder


def _cache() -> Path:
    folder = Path(os.environ.get("EDGE_INSPECT_CACHE", Path.home() / ".cache" / "edge-inspect"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _rootfs() -> Path:
    if os.geteuid() != 0:
        pytest.skip("a systemd-nspawn host needs root")
    need("systemd-nspawn", "systemd-container")
    need("ip", "iproute2")
    rootfs = _cache() / _ROOTFS
    if not rootfs.is_dir():
        need("debootstrap", "debootstrap")
        with tempfile.TemporaryDirectory(dir=_cache()) as scratch:
            fresh = Path(scratch, "root")
            _fetch(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(fresh), _mirror()])
            _finish_rootfs(fresh)
            fresh.rename(rootfs)
    return rootfs


def _mirror() -> str:
    """Return the Debian mirror that this machine's apt uses."""
    listing = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Codename: bookworm")
    if not listing.strip():
        pytest.skip("apt on this machine knows no mirror of Debian bookworm")
    return listing.split()[0]


def _fetch(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]} could not download: {(done.stderr or done.stdout).strip()[-200:]}")


def _finish_rootfs(root: Path) -> None:
    for path in (*root.glob("var/cache/apt/archives/*.deb"), *root.glob("var/lib/apt/lists/*Packages")):
        path.unlink()
    run("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", FITTER)
    (root / "etc/sudoers.d/fitter").write_text(f"{FITTER} ALL=(ALL) NOPASSWD: ALL\n")
    (root / "etc/ssh/sshd_config.d/rig.conf").write_text("AuthorizedKeysFile /etc/ssh/rig_keys\nUseDNS no\n")
    (root / "etc/hostname").write_text(f"{STATION}\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost {STATION}\n")


def lay_cable() -> tuple[str, str, str]:
    """Lay a cable into a network namespace of its own; both ends' addresses and the namespace's name."""
    number = next((n for n in range(250) if _succeeds("ip", "netns", "add", f"inspect{n}")), None)
    if number is None:
        pytest.skip("no network namespace can be made here: ip netns add")
    gateway, address = f"10.213.{number}.1", f"10.213.{number}.2"
    namespace, here, there = f"inspect{number}", f"inspect{number}h", f"inspect{number}t"
    run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", namespace)
    run("ip", "address", "add", f"{gateway}/30", "dev", here)
    run("ip", "link", "set", here, "up")
    run("ip", "-n", namespace, "address", "add", f"{address}/30", "dev", there)
    for device in (there, "lo"):
        run("ip", "-n", namespace, "link", "set", device, "up")
    return gateway, address, namespace


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the station's sshd greets; False if it ends or does not come."""
    deadline = time.monotonic() + _BOOT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection((address, 22), timeout=1) as link:
                if link.recv(4) == b"SSH-":
                    return True
        except OSError:
            time.sleep(0.1)
    return False
