"""Where `edge-train compile` is tried: a bundle, the stand-ins on PATH, and a folder for whatever is temporary."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import DEMO_BUNDLE, free_port
from rigs import need
from tiny_parts import run

if TYPE_CHECKING:
    import subprocess

    from rigs import Sshd

HERE = Path(__file__).resolve().parent
STANDINS = {
    "edgetpu_compiler": "standin_edgetpu_compiler.py",
    "docker": "standin_docker.py",
    "podman": "standin_docker.py",
}


@dataclass
class Bench:
    """A bundle to compile, the stand-ins on PATH, and a folder for whatever is temporary."""

    bundle: Path
    programs: Path
    scratch: Path
    state: Path

    def environment(self, behaviour: str) -> dict[str, str]:
        """The environment in which the stand-ins behave so, also for who logs in by ssh."""
        there = {
            "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            "STANDIN": behaviour,
            "STANDIN_STATE": str(self.state),
            "STANDIN_REMOVED": str(self.state.with_suffix(".removed")),
        }
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in there.items())
        _program(self.programs / "login", f'{exports}exec sh -c "$SSH_ORIGINAL_COMMAND"')
        return {**there, "TMPDIR": str(self.scratch)}

    def compile(self, *arguments: object, behaviour: str = "whole") -> subprocess.CompletedProcess[str]:
        """Run the command."""
        return run("compile", self.bundle, *arguments, **self.environment(behaviour))

    def left(self) -> list[str]:
        """What is still there of what was temporary, here and where ssh would put it."""
        return [str(path) for path in (*self.scratch.iterdir(), *Path("/tmp").glob("edge-train-compile-*"))]  # noqa: S108


def make_bench(folder: Path) -> Bench:
    """Lay it out in folders whose names a shell would trip over."""
    bundle = folder / "it's; $(touch x) & a.bundle"
    shutil.copytree(DEMO_BUNDLE, bundle)
    programs, scratch = folder / "bin", folder / "scratch"
    programs.mkdir()
    scratch.mkdir()
    for name, script in STANDINS.items():
        _program(programs / name, f'exec "{sys.executable}" "{HERE / script}" "$@"')
    return Bench(bundle, programs, scratch, folder / "state")


def join_ssh(bench: Bench, sshd: Sshd) -> None:
    """Put the real ssh on PATH: `x86` is the sshd's host, with the stand-in there; nothing listens at `closed`."""
    public = sshd.key.with_name("key.pub")
    key = public.read_text("ascii").rpartition("ssh-ed25519 ")
    public.write_text(f'command="{bench.programs / "login"}" {key[1]}{key[2]}', "ascii")
    config = bench.programs / "ssh_config"
    login = f"HostName 127.0.0.1\nIdentityFile {sshd.key}\nIdentitiesOnly yes\nUserKnownHostsFile {sshd.known_hosts}\n"
    config.write_text(f"Host x86\nPort {sshd.port}\nHost closed\nPort {free_port()}\nHost *\n{login}", "ascii")
    _program(bench.programs / "ssh", f'exec {need("ssh", "openssh-client")} -F {config} "$@"')


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)


def digest(path: Path) -> str:
    """A hash over everything in a folder."""
    whole = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        whole.update(str(file.relative_to(path)).encode() + (file.read_bytes() if file.is_file() else b""))
    return whole.hexdigest()


def is_gone(process: int) -> bool:
    """Wait for a process to be no more, some seconds at most."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def started(bench: Bench) -> int:
    """Wait for the hanging compiler and return its process."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if bench.state.exists() and (text := bench.state.read_text("ascii")):
            return int(text)
        time.sleep(0.02)
    pytest.fail("the compiler did not start")
