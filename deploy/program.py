"""The program of a release: a wheel of this project and the locked packages below it, named by their content."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.release import PROJECT, has_pins, shared_file
from edge.errors import DeployError
from edge.sections.cameras import PicameraConfig, V4l2Config, VideoConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config import Config

REQUIREMENTS = "requirements-device.txt"
REQUIREMENTS_WITH_CAMERA = "requirements-device-camera.txt"
"""The same with the extras `camera`, which reads videos, and `v4l2`, for USB cameras."""
_LOCKS = (REQUIREMENTS, REQUIREMENTS_WITH_CAMERA)
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", *_LOCKS, "edge", "training", "deploy", "systemd")
_SETUPTOOLS = 77
"""From this major version on, setuptools understands this project's pyproject.toml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What one virtual environment on a device holds."""

    wheel: Path
    requirements: Path
    wheelhouse: tuple[Path, ...]
    """Wheels that the device installs from; none: it asks its package index."""
    system_packages: bool
    """The environment sees apt's Python packages: picamera2 must match the system's libcamera, lgpio its kernel."""

    @property
    def id(self) -> str:
        """12 hexadecimal digits of what is installed; the same sources give the same id."""
        parts = f"{self.requirements.read_text('utf-8')}{_content(self.wheel)}{self.system_packages}"
        return hashlib.sha256(parts.encode()).hexdigest()[:12]


@contextmanager
def program(wheel: Path | None, wheelhouse: Path | None, *, config: Config) -> Iterator[Program]:
    """Collect the program for a configuration, building the wheel from this checkout unless one is given.

    Raises DeployError for a wheel, wheelhouse or checkout that cannot be used.
    """
    lock = REQUIREMENTS_WITH_CAMERA if isinstance(config.camera, VideoConfig | V4l2Config) else REQUIREMENTS
    if wheelhouse is not None and not any(wheelhouse.glob("*.whl")):
        remedy = f"on a machine like the device, fill it with pip download -r {lock} -d {wheelhouse}"
        raise DeployError(f"{wheelhouse} holds no wheels; {remedy}")
    with tempfile.TemporaryDirectory(prefix="edge-deploy-") as scratch:
        yield Program(
            wheel=_checked(wheel) if wheel else build_wheel(Path(scratch)),
            requirements=shared_file(lock),
            wheelhouse=tuple(sorted(wheelhouse.glob("*.whl"))) if wheelhouse else (),
            system_packages=isinstance(config.camera, PicameraConfig) or has_pins(config),
        )


def build_wheel(folder: Path) -> Path:
    """Build this checkout's wheel in `folder`, from a copy: no leftover of an earlier build gets in."""
    if not (PROJECT / "pyproject.toml").is_file():
        raise DeployError("edge-deploy does not run from a checkout here; give the program with --wheel FILE")
    source = folder / "source"
    source.mkdir()
    for name in _SOURCES:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (PROJECT / name).is_file():
            shutil.copy2(PROJECT / name, source / name)
    command = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", *_isolation(), "-w", str(folder)]
    built = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    if built.returncode:
        reason = (built.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise DeployError(f"the wheel could not be built ({reason}); give one with --wheel FILE")
    return next(folder.glob("edge_inspect-*.whl"))


def _isolation() -> list[str]:
    """Build with the setuptools that is here, if it is new enough: no download, and its version is locked."""
    try:
        new_enough = int(version("setuptools").partition(".")[0]) >= _SETUPTOOLS
    except PackageNotFoundError:
        new_enough = False
    return ["--no-build-isolation"] if new_enough else []


def _checked(wheel: Path) -> Path:
    if not (wheel.is_file() and wheel.name.startswith("edge_inspect-") and zipfile.is_zipfile(wheel)):
        raise DeployError(f"{wheel} is no wheel of edge-inspect (edge_inspect-VERSION-py3-none-any.whl)")
    return wheel


def _content(wheel: Path) -> str:
    """Hash names and contents: a wheel's own bytes also hold the time of its making."""
    with zipfile.ZipFile(wheel) as archive:
        lines = sorted(f"{hashlib.sha256(archive.read(name)).hexdigest()} {name}" for name in archive.namelist())
    return "\n".join(lines)
