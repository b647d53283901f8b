"""The command lines that reach edgetpu_compiler: on this machine, in a container, on another host."""

from __future__ import annotations

import os.path
import re
import shlex
import shutil
from dataclasses import dataclass, replace
from typing import TypeAlias

from edge.contract.bundle import EDGE_TPU_MODEL, MODEL
from edge.errors import ConfigError, RuntimeUnavailableError

PROGRAM = "edgetpu_compiler"
REMEDY = (
    "install Google's apt package edgetpu-compiler (Debian or Ubuntu, x86-64 only; see coral.ai/docs/edgetpu/compiler),"
    " or name another place: --compiler PATH, docker:IMAGE, podman:IMAGE or ssh:USER@HOST"
)
_LOST_SECONDS, _DEAF_SECONDS = 5, 3
"""How long above its time limit a host lets a compiler run whose connection was lost, and then not end when asked."""
_HOST = re.compile(r"[A-Za-z0-9_.@:%\[\]][A-Za-z0-9_.@:%\[\]-]*")
_IMAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:@-]*")


@dataclass(frozen=True, slots=True)
class Local:
    """A program: a path, or a name on PATH."""

    program: str

    def __str__(self) -> str:
        """Name it as --compiler does."""
        return self.program


@dataclass(frozen=True, slots=True)
class Container:
    """An image with edgetpu_compiler on its PATH, run by docker or podman."""

    engine: str
    program: str
    image: str

    def __str__(self) -> str:
        """Name it as --compiler does."""
        return f"{self.engine}:{self.image}"


@dataclass(frozen=True, slots=True)
class Remote:
    """A Linux host with edgetpu_compiler on its PATH and a key for us."""

    program: str
    host: str

    def __str__(self) -> str:
        """Name it as --compiler does."""
        return f"ssh:{self.host}"


Compiler: TypeAlias = Local | Container | Remote


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One run: a command in the folder of the model, and the command that undoes what it leaves if it is ended."""

    command: tuple[str, ...]
    cleanup: tuple[str, ...] = ()
    streams: bool = False
    """The model goes in by stdin and the result comes by stdout; otherwise both are files of the folder."""


def parse(text: str) -> Compiler:
    """Read --compiler; raises ConfigError for a host or an image that is none."""
    kind, colon, rest = text.partition(":")
    if colon and kind in ("docker", "podman"):
        if not _IMAGE.fullmatch(rest):
            raise ConfigError(f"--compiler {text}: {rest!r} is no name of an image; say {kind}:IMAGE")
        return Container(kind, kind, rest)
    if colon and kind == "ssh":
        if not _HOST.fullmatch(rest):
            raise ConfigError(f"--compiler {text}: {rest!r} is no host; say ssh:HOST or ssh:USER@HOST")
        return Remote("ssh", rest)
    if not text:
        raise ConfigError("--compiler is empty; name a program, docker:IMAGE, podman:IMAGE or ssh:USER@HOST")
    return Local(text)


def find(compiler: Compiler) -> Compiler:
    """Return the compiler with its program's full path, as it is run elsewhere; raises RuntimeUnavailableError."""
    path = shutil.which(compiler.program)
    if path is None:
        raise RuntimeUnavailableError(f"{compiler.program}: no such program; {REMEDY}")
    return replace(compiler, program=os.path.abspath(path))  # noqa: PTH100 - a link may be how it knows its name


def plan(compiler: Compiler, *, folder: str, token: str, seconds: int, user: tuple[int, int]) -> Plan:
    """Return how `user` (its uid and gid) compiles MODEL of `folder` to EDGE_TPU_MODEL beside it within `seconds`.

    `token`, letters and digits, makes the names of what is made elsewhere unique.
    """
    options = ("-s", "-t", str(seconds), "-o", ".", MODEL)  # Show operations, time limit, folder of the result.
    match compiler:
        case Local(program):
            return Plan(command=(program, *options))
        case Container():
            names = (f"--name=edge-train-compile-{token}", f"--volume={folder}:/work:Z", "--workdir=/work")
            return _in_container(compiler, names, user, options)
        case Remote():
            return _over_ssh(compiler, f"/tmp/edge-train-compile-{token}", options, seconds)  # noqa: S108 - made by mkdir, ours


def _in_container(compiler: Container, names: tuple[str, ...], user: tuple[int, int], options: tuple[str, ...]) -> Plan:
    as_user: tuple[str, ...] = (f"--user={user[0]}:{user[1]}",)
    if compiler.engine == "podman":
        # An ordinary user's podman maps users anew; root's does not, and refuses this.
        as_user = ("--userns=keep-id",) if user[0] else ()
    run = (compiler.program, "run", "--rm", "--network=none", "--platform=linux/amd64", *as_user, *names)
    undo = (compiler.program, "rm", "--force", names[0].removeprefix("--name="))
    return Plan(command=(*run, f"--entrypoint={PROGRAM}", compiler.image, *options), cleanup=undo)


def _over_ssh(compiler: Remote, folder: str, options: tuple[str, ...], seconds: int) -> Plan:
    """Make a folder there, run, and remove it, in one connection; only names made here reach the remote shell."""
    ssh = (compiler.program, "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--", compiler.host)
    script = f"""set -e; umask 077; mkdir {folder}; child=
trap 'test -z "$child" || kill "$child" 2>/dev/null || :; rm -rf {folder}' EXIT
trap 'exit 143' HUP INT TERM
cd {folder}; echo $$ > pid; cat > {MODEL}
timeout -k {_DEAF_SECONDS} {seconds + _LOST_SECONDS} {shlex.join((PROGRAM, *options))} >&2 </dev/null & child=$!
wait "$child"; child=
cat {EDGE_TPU_MODEL}"""
    undo = f'kill "$(cat {folder}/pid)" 2>/dev/null; rm -rf {folder}'
    return Plan(
        command=(*ssh, f"sh -c {shlex.quote(script)}"), cleanup=(*ssh, f"sh -c {shlex.quote(undo)}"), streams=True
    )
