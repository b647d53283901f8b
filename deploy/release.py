"""What goes to a device, decided before anything is touched: pure, but for reading local files.

A *release* is everything that makes a device judge: the program (named by its venv), the configuration with the
files it refers to, the model bundle and the systemd unit. On the device it is one folder,

    /opt/edge-inspect/releases/<time>/    etc/device.toml · bundle/ · edge-inspect.service · venv -> ../../venvs/<id>
    /opt/edge-inspect/current             -> releases/<time>          the only thing that a switch changes
    /opt/edge-inspect/venv                -> current/venv             fixed: what the unit starts
    /etc/edge-inspect                     -> /opt/edge-inspect/current/etc

so that one rename switches all of it: a device runs the old release or the new one, never a half.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge import config as configs
from edge.contract import bundle as bundles
from edge.errors import ConfigError, DeployError
from edge.sections.triggers import GpioConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config import Config
    from edge.contract.bundle import Bundle

UNIT = "edge-inspect.service"
CONFIG = "etc/device.toml"
BUNDLE_ON_DEVICE = "/opt/edge-inspect/current/bundle"
"""What the pushed configuration's `bundle` says: push rewrites that one key."""
PROJECT = Path(__file__).resolve().parent.parent
_SHARED = Path(sys.prefix, "share", "edge-inspect")
_CARRIED = ("password_file", "ca_file", "cert_file", "key_file")
_TOP_LEVEL_BUNDLE = re.compile(r"^[ \t]*bundle[ \t]*=.*$", re.MULTILINE)
_FIRST_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release's content. `files` are those of its folder by name, the venv left out."""

    bundle: Bundle
    config: Config
    """As this machine reads it: relative paths count from the local file's folder."""
    device_id: str
    """Empty: the device's own host name."""
    files: Mapping[str, bytes]

    def hashes(self) -> dict[str, str]:
        """Return every file's SHA-256 by name, to compare with a device's."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}


def assemble(bundle_path: Path, config_path: Path) -> Release:
    """Read and check bundle and configuration, and lay out the release.

    Raises ConfigError or BundleError as `edge-inspect check` would, and ConfigError for files that the
    configuration names but the device would not have.
    """
    config = configs.load(config_path)
    bundle = bundles.read(bundle_path, trusted_keys=config.trusted_keys)
    table = tomllib.loads(configs.read_text(config_path))
    _require_absolute_source(table["camera"], config_path)
    files = {
        CONFIG: _point_to_bundle(config_path).encode(),
        **_carried(table.get("mqtt", {}), config_path),
        **{f"bundle/{name}": content for name, content in bundles.content(bundle)},
        UNIT: shared_file(f"systemd/{UNIT}").read_bytes(),
    }
    return Release(bundle=bundle, config=config, device_id=table.get("device", {}).get("id", ""), files=files)


def shared_file(name: str) -> Path:
    """Find a file that the checkout holds, or that was installed with this program; else DeployError."""
    for folder in (PROJECT, _SHARED):
        if (folder / name).is_file():
            return folder / name
    raise DeployError(f"{name} was not installed with edge-deploy; run it from a checkout of edge-inspect")


def has_pins(config: Config) -> bool:
    """Say whether the device reads or drives pins."""
    return bool(config.outputs) or isinstance(config.trigger, GpioConfig)


def pack(release: Release) -> bytes:
    """Return the release's folder as an uncompressed tar; what may hold secrets is for root and the daemon only."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in sorted({str(parent) for name in release.files for parent in Path(name).parents} - {"."}):
            archive.addfile(_entry(folder, tarfile.DIRTYPE, 0o750))
        for name, content in sorted(release.files.items()):
            entry = _entry(name, tarfile.REGTYPE, 0o640)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    entry.uname, entry.gname = "root", "edge-inspect"
    return entry


def _point_to_bundle(config_path: Path) -> str:
    """Return the file's text with its `bundle` key naming the place on the device; all else stays as written."""
    text = configs.read_text(config_path)
    first_table = _FIRST_TABLE.search(text)
    end = first_table.start() if first_table else len(text)
    head = _TOP_LEVEL_BUNDLE.sub(f'bundle = "{BUNDLE_ON_DEVICE}"', text[:end], count=1)
    result = head + text[end:]
    try:
        rewritten = tomllib.loads(result) == {**tomllib.loads(text), "bundle": BUNDLE_ON_DEVICE}
    except tomllib.TOMLDecodeError:
        rewritten = False
    if not rewritten:
        raise ConfigError(f'{config_path}: write the key bundle on one line, such as bundle = "my-bundle"')
    return result


def _carried(mqtt: dict[str, Any], config_path: Path) -> dict[str, bytes]:
    """Read the files that the configuration names by a relative path: they travel beside device.toml."""
    carried = {}
    for key in _CARRIED:
        name = mqtt.get(key)
        if name is None or Path(name).expanduser().is_absolute():
            continue
        if ".." in Path(name).parts:
            raise ConfigError(f"{config_path}: mqtt.{key} {name!r} leaves this file's folder; put it beside the file")
        try:
            carried[f"etc/{Path(name).as_posix()}"] = (config_path.parent / name).read_bytes()
        except OSError as error:
            raise ConfigError(f"{config_path}: mqtt.{key}: {error}; push sends it along") from error
    return carried


def _require_absolute_source(camera: dict[str, Any], config_path: Path) -> None:
    """Refuse pictures or videos by a relative path: on the device that would be another, empty place."""
    for key in ("path", "source"):
        value = str(camera.get(key, "/"))
        if "://" not in value and not Path(value).is_absolute():
            raise ConfigError(f"{config_path}: camera.{key} {value!r} is relative; give the path it has on the device")
