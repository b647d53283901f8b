"""Throw-away machines for tests: an sshd on this machine, and a whole Debian 12 host booted by systemd-nspawn."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import free_port, wait_for_port
from debians import Debian, need, nspawn, rootfs, run

STATION = "station-1"
FITTER = "fitter"
_BOOKWORM = Debian(
    "rootfs-bookworm-1",
    "bookworm",
    platform.machine(),
    "3.11",
    "systemd,systemd-sysv,dbus,python3,python3-venv,openssh-server,iproute2,udev,procps,sudo",
)
_BOOT_SECONDS = 60


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


@dataclass
class Station:
    """A Debian host with systemd, sshd and no internet, reached over a network cable of its own."""

    folder: Path
    address: str
    gateway: str
    """This machine, as the station reaches it."""
    namespace: str
    process: subprocess.Popen[bytes] | None = None

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

    def boot(self, *more: str) -> None:
        """Switch it on, as its disk was left, with `more` options of nspawn; skips where that cannot be."""
        root, log = rootfs(_BOOKWORM, _finish_rootfs), self.folder / "boot.log"
        options = (
            *("--boot", f"--machine={self.namespace}", "--console=pipe"),
            f"--network-namespace-path=/run/netns/{self.namespace}",
            f"--bind-ro={self.key}.pub:/etc/ssh/rig_keys",
            *more,
        )
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                nspawn(root, self.folder / "disk", *options), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.known_hosts.write_text(f"{self.address} {(root / 'etc/ssh/ssh_host_ed25519_key.pub').read_text()}")
        if not _answers(self.address, self.process):
            self.stop()
            pytest.skip(f"systemd-nspawn cannot boot here: {log.read_text(errors='replace')[-200:].strip()}")

    def shut_down(self) -> None:
        """Switch it off as its power button does."""
        assert self.process is not None
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.cut_the_power()

    def cut_the_power(self) -> None:
        """Switch it off without a chance to write anything."""
        assert self.process is not None
        # nspawn's one child is the station's init, with which all of it ends; without nspawn it would live on.
        for init in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            os.kill(int(init), signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """Switch it off and unplug it; nothing of it stays."""
        self.shut_down()
        run("ip", "netns", "del", self.namespace)


def start_station(folder: Path) -> Station:
    """Boot a fresh station; skips where that cannot be."""
    rootfs(_BOOKWORM, _finish_rootfs)
    need("ip", "iproute2")
    make_key(folder)
    gateway, address, namespace = lay_cable()
    station = Station(folder, address, gateway, namespace)
    station.boot()
    return station


def _finish_rootfs(root: Path) -> None:
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
