"""The device's configuration: one TOML file, frozen and validated before anything starts.

Every field carries its own description; the README's configuration page is generated from them.
"""

from __future__ import annotations

import base64
import re
import socket
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec

from edge.contract.names import NAME, CommandName, is_host
from edge.contract.preprocess import WHOLE_FRAME, Region, Rotation
from edge.errors import ConfigError
from edge.sections import Runtime as Runtime  # noqa: PLC0414 - it belongs here, but for the room
from edge.sections import Section, Sparkplug
from edge.sections import doc as _doc

if TYPE_CHECKING:
    from collections.abc import Callable


_WHOLE_NAME = rf"^{NAME}\Z"
_KEY_BYTES = 32
LONGEST_PASSWORD = 10_000
"""Characters; MQTT ends at 65,535 bytes."""


class Device(Section, frozen=True, kw_only=True):
    """Who this device is: its topics are inspect/v1/<site>/<id>/..."""

    site: Annotated[str, _doc("the plant or hall", pattern=_WHOLE_NAME)] = "default"
    id: Annotated[str, _doc("unique within the site; empty: the host's name")] = ""


class _Camera(Section, frozen=True, kw_only=True, tag_field="kind"):
    name: Annotated[str, _doc("stands in every event", pattern=_WHOLE_NAME)] = "camera"
    region: Annotated[Region, _doc("the part of the frame to judge, in fractions of its size")] = WHOLE_FRAME
    rotate: Annotated[Rotation, _doc("degrees clockwise, to turn the part as in training")] = 0


class PicameraConfig(_Camera, frozen=True, kw_only=True, tag="picamera2"):
    """A Raspberry Pi camera through picamera2 (apt install python3-picamera2)."""

    index: Annotated[int, _doc("which camera, as `rpicam-hello --list-cameras` counts", ge=0)] = 0
    width: Annotated[int, _doc("pixels, even", ge=64, le=8192, multiple_of=2)] = 1280
    height: Annotated[int, _doc("pixels, even", ge=64, le=8192, multiple_of=2)] = 720
    rate: Annotated[float, _doc("frames per second", gt=0, le=240)] = 10.0
    timeout_s: Annotated[float, _doc("without a frame for this long the camera counts as hung", gt=0, le=25)] = 5.0


class FolderConfig(_Camera, frozen=True, kw_only=True, tag="folder"):
    """Pictures in a folder and its subfolders, in the order of their names."""

    path: Annotated[Path, _doc("the folder; relative to this file's folder")]
    rate: Annotated[
        float,
        _doc("pictures per second; 0: as fast as they are judged, so that none is dropped", ge=0, le=1000),
    ] = 0.0
    loop: Annotated[bool, _doc("begin again after the last picture; otherwise the daemon ends there")] = False


class VideoConfig(_Camera, frozen=True, kw_only=True, tag="video"):
    """A video file or a stream address that PyAV opens (pip install 'edge-inspect[camera]')."""

    source: Annotated[
        str, _doc("a file, relative to this file's folder, or an address such as rtsp://...", min_length=1)
    ]
    rate: Annotated[
        float, _doc("frames per second of a file; 0: as fast as they are judged, none dropped", ge=0, le=1000)
    ] = 0.0
    loop: Annotated[bool, _doc("begin again after a file's last frame")] = False

    @property
    def is_stream(self) -> bool:
        """Whether `source` is an address, not a file."""
        return "://" in self.source

    def __post_init__(self) -> None:
        """Refuse a source that no file can be called; raises ValueError."""
        if not self.is_stream:
            _path(Path(), self.source)


class SyntheticConfig(_Camera, frozen=True, kw_only=True, tag="synthetic"):
    """Rendered cutting inserts, for demonstrations and tests; an event's source begins with the truth."""

    rate: Annotated[float, _doc("frames per second; 0: as fast as they are judged", ge=0, le=1000)] = 5.0
    width: Annotated[int, _doc("pixels", ge=32, le=4096)] = 160
    height: Annotated[int, _doc("pixels", ge=32, le=4096)] = 128
    seed: Annotated[int, _doc("the same seed shows the same parts", ge=0)] = 1
    frames: Annotated[int, _doc("stop after this many; 0: never", ge=0)] = 0


CameraConfig: TypeAlias = PicameraConfig | FolderConfig | VideoConfig | SyntheticConfig


class Decision(Section, frozen=True, kw_only=True):
    """When a frame is a defect, and how many frames must agree."""

    threshold: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=1)] | None,
        _doc("P(defect) from which a frame is DEFECT; left out: the bundle's own rule"),
    ] = None
    votes: Annotated[int, _doc("N of M: this many of the last `window` frames must agree on a verdict", ge=1)] = 1
    window: Annotated[int, _doc("N of M: how many frames are looked at; 1: each stands alone", ge=1, le=1000)] = 1

    def __post_init__(self) -> None:
        """Refuse votes that can never be reached; raises ValueError."""
        if self.votes > self.window:
            raise ValueError(f"votes {self.votes} can never be reached in a window of {self.window}")


class Mqtt(Section, frozen=True, kw_only=True):
    """The broker. A broker that is away is no reason to stop judging."""

    host: Annotated[str, _doc("name or address", min_length=1, max_length=253)] = "localhost"
    port: Annotated[int, _doc("1883 without TLS, 8883 with it, by custom", ge=1, le=65535)] = 1883
    protocol: Annotated[Literal["5", "3.1.1"], _doc("the MQTT version the broker speaks")] = "5"
    username: Annotated[str, _doc("empty: no login", max_length=1000)] = ""
    password: Annotated[str, _doc("better kept in password_file", max_length=LONGEST_PASSWORD)] = ""
    password_file: Annotated[Path | None, _doc("a file with the password on its first line")] = None
    tls: Annotated[bool, _doc("encrypt, and check the broker's certificate and name")] = False
    ca_file: Annotated[Path | None, _doc("PEM of the CA that signed the broker; left out: the system's")] = None
    cert_file: Annotated[Path | None, _doc("PEM of this device's certificate, where the broker asks for one")] = None
    key_file: Annotated[Path | None, _doc("PEM of its private key")] = None
    keepalive_s: Annotated[int, _doc("a dead link is noticed after 1.5 times this many seconds", ge=5, le=3600)] = 30

    def __post_init__(self) -> None:
        """Refuse names that no resolver takes and combinations that would do less than asked; raises ValueError."""
        if not is_host(self.host):
            raise ValueError(f"host {self.host!r} is not a host name or address; the port is a key of its own")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: set both or neither")
        if not self.tls and (self.ca_file or self.cert_file):
            raise ValueError("ca_file and cert_file do nothing without tls = true")
        if self.password and self.password_file:
            raise ValueError("set password or password_file, not both")
        if (self.password or self.password_file) and not self.username:
            raise ValueError("a password needs a username")


class Ledger(Section, frozen=True, kw_only=True):
    """The file that keeps each verdict until the broker has it, and for a while after."""

    events_mib: Annotated[
        int, _doc("room for verdicts, of some 200 bytes each; then the oldest PASS go first, DEFECT last", ge=1)
    ] = 512
    pictures_mib: Annotated[
        int, _doc("room for pictures of DEFECT and UNKNOWN; then what was sent goes first; 0: none are made", ge=0)
    ] = 512
    keep_days: Annotated[
        int, _doc("days that verdicts and their pictures stay once the broker has them", ge=1, le=36_500)
    ] = 30


class Commands(Section, frozen=True, kw_only=True):
    """What may be asked of this device over MQTT. Who may ask, the broker's access rules say."""

    allow: Annotated[
        tuple[CommandName, ...], _doc("names of commands; empty: none, and the device does not listen")
    ] = ()


class HomeAssistant(Section, frozen=True, kw_only=True):
    """Whether this device introduces itself to Home Assistant, through MQTT discovery, at the same broker."""

    enabled: Annotated[bool, _doc("switched off again, the next start takes the introduction back")] = False
    prefix: Annotated[
        str,
        _doc("Home Assistant's discovery prefix; the broker's rules name it too", pattern=_WHOLE_NAME),
    ] = "homeassistant"


class Config(Section, frozen=True, kw_only=True):
    """The whole file."""

    bundle: Annotated[Path, _doc("the model bundle, a folder or a zip; relative to this file's folder")]
    trusted_keys: Annotated[
        tuple[str, ...],
        _doc("public keys that may sign bundles (edge-train keygen); empty: anyone may"),
    ] = ()
    state_dir: Annotated[
        Path | None,
        _doc("where the daemon remembers things; left out: systemd's $STATE_DIRECTORY, or ~/.local/state/edge-inspect"),
    ] = None
    health_every_s: Annotated[float, _doc("seconds between health messages", ge=0.1, le=3600)] = 10.0
    device: Device = Device()
    camera: CameraConfig
    decision: Decision = Decision()
    mqtt: Mqtt = Mqtt()
    ledger: Ledger = Ledger()
    commands: Commands = Commands()
    homeassistant: HomeAssistant = HomeAssistant()
    sparkplug: Sparkplug = Sparkplug()
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        """Refuse trusted keys that could never have signed anything; raises ValueError."""
        for key in self.trusted_keys:
            try:
                length = len(base64.b64decode(key, validate=True))
            except ValueError:
                length = 0
            if length != _KEY_BYTES:
                raise ValueError(f"trusted_keys: {key[:60]!r} is not a public key as edge-train keygen prints it")


def load(path: Path) -> Config:
    """Read and validate a TOML file; relative paths in it count from its folder.

    Raises ConfigError: one line with the file, the key and the remedy (for an unknown key, the nearest one).
    """
    try:
        table = tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; see the README's configuration page") from None
    except RecursionError:
        raise ConfigError(f"{path}: tables or arrays nested without end; see the README's configuration page") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return parse(table, path)


def read_text(path: Path) -> str:
    """Read a configuration's text; raises OSError, or ValueError for what is no file or no text."""
    if path.exists() and not path.is_file():
        raise ValueError("not a file")  # A pipe would be waited for without end.
    return path.read_text("utf-8-sig")  # Some editors begin a file with a byte order mark.


def parse(table: dict[str, Any], path: Path) -> Config:
    """Validate an already parsed file; `path` anchors relative paths and names the file in errors."""
    try:
        config = msgspec.convert(table, Config, dec_hook=_path_decoder(path.parent))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_problem(str(error), table)}") from error
    return _with_device_id(_with_video_path(config, path.parent), path)


def _problem(message: str, table: dict[str, Any]) -> str:
    from edge.config_errors import explain, unknown_keys

    return next(unknown_keys(table, Config), None) or explain(message, table, Config)


def _path_decoder(base: Path) -> Callable[[type, Any], Path]:
    def decode(_: type, value: Any) -> Path:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a path")  # noqa: TRY004 - msgspec reports ValueErrors only
        return _path(base, value)

    return decode


def _path(base: Path, text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is not a path")
    try:
        return base / Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text!r} names no user of this device") from error


def _with_video_path(config: Config, base: Path) -> Config:
    if not isinstance(config.camera, VideoConfig) or config.camera.is_stream:
        return config
    camera = msgspec.structs.replace(config.camera, source=str(_path(base, config.camera.source)))
    return msgspec.structs.replace(config, camera=camera)


def _with_device_id(config: Config, path: Path) -> Config:
    identity = config.device.id or socket.gethostname().partition(".")[0]
    if not re.fullmatch(NAME, identity):
        raise ConfigError(f"{path}: device.id is {identity!r}: expected letters, digits, _ and -, 64 at most")
    return msgspec.structs.replace(config, device=msgspec.structs.replace(config.device, id=identity))
