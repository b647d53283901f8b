"""The device's configuration: one TOML file, frozen and validated before anything starts.

Every field carries its own description; the README's configuration page is generated from them.
"""

from __future__ import annotations

import base64
import re
import socket
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from edge.contract.names import NAME, WHOLE_NAME, CommandName
from edge.errors import ConfigError
from edge.regions import duplicate, places
from edge.sections.base import Section, to_path
from edge.sections.base import doc as _doc
from edge.sections.cameras import CameraConfig, PicameraConfig, V4l2Config, VideoConfig
from edge.sections.guard import Guard
from edge.sections.mqtt import Mqtt
from edge.sections.outputs import OutputConfig
from edge.sections.prometheus import Prometheus
from edge.sections.regions import RegionConfig
from edge.sections.runtime import Runtime
from edge.sections.sparkplug import Sparkplug
from edge.sections.triggers import CommandConfig, FreeConfig, GpioConfig, TriggerConfig

if TYPE_CHECKING:
    from collections.abc import Callable


_KEY_BYTES = 32


class Device(Section, frozen=True, kw_only=True):
    """Who this device is: its topics are inspect/v1/<site>/<id>/..."""

    site: Annotated[str, _doc("the plant or hall", pattern=WHOLE_NAME)] = "default"
    id: Annotated[str, _doc("unique within the site; empty: the host's name")] = ""


class Decision(Section, frozen=True, kw_only=True):
    """When a frame is a defect, and how many frames must agree."""

    threshold: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=1)] | None,
        _doc("P(defect) from which a frame is DEFECT; left out: the bundle's own rule"),
    ] = None
    votes: Annotated[int, _doc("N of M: this many of the last `window` frames must agree on a verdict", ge=1)] = 1
    window: Annotated[
        int,
        _doc(
            "N of M: how many frames are looked at; 1: each stands alone, as each part of a trigger has to",
            ge=1,
            le=1000,
        ),
    ] = 1

    def __post_init__(self) -> None:
        """Refuse votes that can never be reached; raises ValueError."""
        if self.votes > self.window:
            raise ValueError(f"votes {self.votes} can never be reached in a window of {self.window}")


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
        _doc("Home Assistant's discovery prefix; the broker's rules name it too", pattern=WHOLE_NAME),
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
    memory_limit_mib: Annotated[
        Annotated[int, msgspec.Meta(ge=100)] | None,
        _doc("MiB of memory that the daemon may have before it starts anew; left out: half of the device's"),
    ] = None
    health_every_s: Annotated[float, _doc("seconds between health messages", ge=0.1, le=3600)] = 10.0
    device: Device = Device()
    camera: CameraConfig
    trigger: TriggerConfig = FreeConfig()
    regions: Annotated[tuple[RegionConfig, ...], _doc("the parts of a frame that get verdicts; none: it is one")] = ()
    outputs: Annotated[tuple[OutputConfig, ...], _doc("pins that verdicts switch")] = ()
    guard: Guard = Guard()
    decision: Decision = Decision()
    mqtt: Mqtt = Mqtt()
    ledger: Ledger = Ledger()
    commands: Commands = Commands()
    homeassistant: HomeAssistant = HomeAssistant()
    sparkplug: Sparkplug = Sparkplug()
    prometheus: Prometheus = Prometheus()
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        """Refuse what could never work: keys, names that are there twice, a trigger that nobody may pull.

        Raises ValueError.
        """
        if twice := duplicate(places(self.regions)):
            raise ValueError(f"regions: two are named {twice!r}")
        if isinstance(self.trigger, CommandConfig) and "trigger" not in self.commands.allow:
            raise ValueError("trigger.kind mqtt: nobody may trigger; add 'trigger' to commands.allow")
        if not isinstance(self.trigger, FreeConfig) and self.decision.window > 1:  # A part would pass by those before.
            kind = self.trigger.__struct_config__.tag
            problem = f"decision.window {self.decision.window}: with trigger.kind {kind} each part has one frame"
            raise ValueError(f"{problem}, which no other's may outvote; set decision.window to 1")
        if isinstance(self.trigger, GpioConfig) and isinstance(self.camera, PicameraConfig | V4l2Config):
            self.trigger.suit(self.camera.rate)
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
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; may this user read it (sudo), and is the disk well (dmesg)?"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    return parse(table, path)


def read_text(path: Path) -> str:
    """Read a configuration's text; raises OSError, or ValueError for what is no file or no text."""
    if path.exists() and not path.is_file():
        raise ValueError("not a file; name the device's TOML file")  # A pipe would be waited for without end.
    try:
        return path.read_text("utf-8-sig")  # Some editors begin a file with a byte order mark.
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no text in UTF-8; save the file in that encoding") from error


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
        return to_path(base, value)

    return decode


def _with_video_path(config: Config, base: Path) -> Config:
    if not isinstance(config.camera, VideoConfig) or config.camera.is_stream:
        return config
    camera = msgspec.structs.replace(config.camera, source=str(to_path(base, config.camera.source)))
    return msgspec.structs.replace(config, camera=camera)


def _with_device_id(config: Config, path: Path) -> Config:
    identity = config.device.id or socket.gethostname().partition(".")[0]
    if not re.fullmatch(NAME, identity):
        raise ConfigError(f"{path}: device.id is {identity[:80]!r}: expected letters, digits, _ and -, 64 at most")
    return msgspec.structs.replace(config, device=msgspec.structs.replace(config.device, id=identity))
