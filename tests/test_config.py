"""The device's configuration: what is wrong in it is said on one line, by key and value."""

from __future__ import annotations

import base64
import datetime as dt
import socket
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import config
from edge.config import Config
from edge.errors import ConfigError
from edge.sections.cameras import FolderConfig, PicameraConfig, SyntheticConfig, VideoConfig
from edge.sections.regions import RegionConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = Path("/etc/line/device.toml")
KEY = base64.b64encode(b"k" * 32).decode()
FOLDER = {"kind": "folder", "path": "pictures"}


def parsed(**sections: Any) -> Config:
    """The configuration of a folder camera with some sections changed."""
    return config.parse({"bundle": "b", "camera": FOLDER, **sections}, FILE)


def refusal(**sections: Any) -> str:
    """What is wrong with it, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        parsed(**sections)
    file, _, message = str(caught.value).partition(": ")
    assert file == str(FILE)
    assert "\n" not in message
    return message


def test_the_least_file_is_enough() -> None:
    """Bundle and camera are all that is needed; the rest has defaults, the device is called by its host."""
    found = parsed()
    assert found.camera == FolderConfig(path=Path("/etc/line/pictures"))
    assert found.device.id == socket.gethostname().partition(".")[0]
    assert (found.mqtt.host, found.mqtt.port, found.mqtt.protocol) == ("localhost", 1883, "5")


def test_a_full_file_is_read() -> None:
    """Every kind of value reaches its field with its type."""
    found = config.parse(
        tomllib.loads(f"""
            bundle = "models/b.zip"
            trusted_keys = ["{KEY}"]
            state_dir = "/var/lib/line"
            health_every_s = 2
            [device]
            site = "hall-2"
            id = "lathe_7"
            [camera]
            kind = "picamera2"
            width = 640
            height = 480
            rate = 5
            rotate = 270
            [decision]
            threshold = 0.3
            votes = 2
            window = 3
            [mqtt]
            host = "broker"
            port = 8883
            protocol = "3.1.1"
            username = "u"
            password_file = "secret"
            tls = true
            ca_file = "ca.pem"
            cert_file = "c.pem"
            key_file = "~/k.pem"
            [[regions]]
            name = "tray"
            x = 0.25
            width = 0.5
            rows = 2
            labels = {{ worn = "PASS" }}
            [runtime]
            engine = "litert"
            threads = 4
        """),
        FILE,
    )
    assert found.bundle == Path("/etc/line/models/b.zip")
    assert found.trusted_keys == (KEY,)
    assert found.state_dir == Path("/var/lib/line")
    assert found.health_every_s == 2.0
    assert (found.device.site, found.device.id) == ("hall-2", "lathe_7")
    assert found.camera == PicameraConfig(width=640, height=480, rate=5, rotate=270)
    assert found.regions == (RegionConfig(name="tray", x=0.25, width=0.5, rows=2, labels={"worn": "PASS"}),)
    assert (found.decision.threshold, found.decision.votes, found.decision.window) == (0.3, 2, 3)
    assert found.mqtt.password_file == Path("/etc/line/secret")
    assert found.mqtt.key_file == Path.home() / "k.pem"
    assert (found.runtime.engine, found.runtime.threads) == ("litert", 4)


def test_each_kind_of_camera_is_read() -> None:
    """The kind chooses the camera; files count from the configuration's folder, addresses stay as they are."""
    for camera, expected in [
        ({"kind": "picamera2"}, PicameraConfig()),
        ({"kind": "video", "source": "a/b.mp4"}, VideoConfig(source="/etc/line/a/b.mp4")),
        ({"kind": "video", "source": "/a.mp4"}, VideoConfig(source="/a.mp4")),
        ({"kind": "video", "source": "rtsp://camera/1"}, VideoConfig(source="rtsp://camera/1")),
        ({"kind": "synthetic", "rate": 0}, SyntheticConfig(rate=0)),
    ]:
        assert parsed(camera=camera).camera == expected


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"bundel": 1}, "unknown key bundel; did you mean bundle?"),
        ({"mqtt": {"pasword": "x"}}, "unknown key mqtt.pasword; did you mean password?"),
        ({"camera": FOLDER | {"lop": True}}, "unknown key camera.lop; did you mean loop?"),
        ({"regions": [{"name": "a"}, {"name": "b", "widht": 1}]}, "unknown key regions[1].widht; did you mean width?"),
        ({"camera": {"knd": "folder", "kind": "folder", "path": "p"}}, "unknown key camera.knd; did you mean kind?"),
        (
            {"camera": FOLDER | {"height": 480}},
            "unknown key camera.height; known are: name, rotate, path, rate, loop, watch, kind",
        ),
        ({"device": {"x\ny": 1}}, "unknown key device.'x\\ny'; known are: site, id"),
    ],
)
def test_an_unknown_key_names_the_nearest(sections: dict[str, Any], message: str) -> None:
    """At the top, in a table, in a camera of its kind and in a region: the nearest key, or else all of them."""
    assert refusal(**sections) == message


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"bundle": 3}, "bundle: 3 is not a path"),
        ({"bundle": ""}, "bundle: '' is not a path"),
        ({"bundle": "a\0b"}, r"bundle: 'a\x00b' is not a path"),
        ({"bundle": "~nobody-of-that-name/x"}, "bundle: '~nobody-of-that-name/x' names no user of this device"),
        ({"trusted_keys": "k"}, "trusted_keys is 'k': expected an array, each item a text"),
        ({"trusted_keys": [KEY, 3]}, "trusted_keys[1] is 3: expected a text"),
        (
            {"trusted_keys": [KEY[:-4]]},
            f"trusted_keys: {KEY[:-4]!r} is not a public key as edge-train keygen prints it",
        ),
        ({"trusted_keys": ["no key"]}, "trusted_keys: 'no key' is not a public key as edge-train keygen prints it"),
        ({"health_every_s": 0}, "health_every_s is 0: expected a number at least 0.1 and at most 3600"),
        ({"health_every_s": float("nan")}, "health_every_s is nan: expected a number at least 0.1 and at most 3600"),
        ({"device": {"site": "a/b"}}, "device.site is 'a/b': expected letters, digits, _ and -, 64 at most"),
        ({"device": {"site": "a\n"}}, r"device.site is 'a\n': expected letters, digits, _ and -, 64 at most"),
        ({"device": {"id": "+"}}, "device.id is '+': expected letters, digits, _ and -, 64 at most"),
        ({"device": {"id": "a\n"}}, r"device.id is 'a\n': expected letters, digits, _ and -, 64 at most"),
        ({"camera": 3}, "camera is 3: expected a table"),
        ({"camera": []}, "camera is []: expected a table"),
        ({"camera": {}}, "camera.kind is missing: expected one of 'picamera2', 'v4l2', 'folder', 'video', 'synthetic'"),
        (
            {"camera": {"kind": "webcam"}},
            "camera.kind is 'webcam': expected one of 'picamera2', 'v4l2', 'folder', 'video', 'synthetic'",
        ),
        ({"camera": {"kind": "folder"}}, "camera.path is missing: expected a path"),
        ({"camera": {"kind": "video", "source": ""}}, "camera.source is '': expected a text that is not empty"),
        ({"camera": {"kind": "video", "source": "a\0"}}, r"camera: 'a\x00' is not a path"),
        ({"camera": FOLDER | {"loop": 1}}, "camera.loop is 1: expected true or false"),
        ({"camera": FOLDER | {"rate": -1}}, "camera.rate is -1: expected a number at least 0 and at most 1000"),
        ({"camera": FOLDER | {"rate": "fast"}}, "camera.rate is 'fast': expected a number at least 0 and at most 1000"),
        ({"camera": FOLDER | {"rotate": 45}}, "camera.rotate is 45: expected one of 0, 90, 180, 270"),
        (
            {"camera": {"kind": "picamera2", "width": 65}},
            "camera.width is 65: expected a whole number at least 64 and at most 8192 and a multiple of 2",
        ),
        ({"decision": {"threshold": 1.5}}, "decision.threshold is 1.5: expected a number above 0 and at most 1"),
        ({"decision": {"votes": 3, "window": 2}}, "decision: votes 3 can never be reached in a window of 2"),
        ({"mqtt": {"port": 99999}}, "mqtt.port is 99999: expected a whole number at least 1 and at most 65535"),
        ({"mqtt": {"protocol": 5}}, "mqtt.protocol is 5: expected one of '3.1.1', '5'"),
        ({"mqtt": {"password": 1234}}, "mqtt.password is (hidden): expected a text, of 10000 characters at most"),
        ({"mqtt": {"password": "x"}}, "mqtt: a password needs a username"),
        (
            {"mqtt": {"username": "u", "password": "x", "password_file": "f"}},
            "mqtt: set password or password_file, not both",
        ),
        ({"mqtt": {"ca_file": "x"}}, "mqtt: ca_file and cert_file do nothing without tls = true"),
        (
            {"mqtt": {"tls": True, "cert_file": "x"}},
            "mqtt: cert_file and key_file belong together: set both or neither",
        ),
        (
            {"runtime": {"engine": "onnx"}},
            "runtime.engine is 'onnx': expected one of 'auto', 'litert', 'tflite-runtime'",
        ),
        ({"runtime": {"threads": 1.5}}, "runtime.threads is 1.5: expected a whole number at least 1 and at most 64"),
    ],
)
def test_a_bad_value_is_named_with_what_is_expected(sections: dict[str, Any], message: str) -> None:
    """Each line names the key, its value and what it should be; a password is never shown."""
    assert refusal(**sections) == message


def test_a_long_value_is_cut() -> None:
    """A page of text as a value does not become a page of error."""
    assert len(refusal(health_every_s="x" * 10_000)) < 200
    assert len(refusal(**{"x" * 10_000: 1})) < 400


@pytest.mark.parametrize("missing", ["bundle", "camera"])
def test_what_is_missing_is_named(missing: str) -> None:
    """A file without its bundle or camera says so."""
    table = {"bundle": "b", "camera": FOLDER}
    del table[missing]
    with pytest.raises(ConfigError, match=f"{missing} is missing: expected a"):
        config.parse(table, FILE)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, r"no such file; see the README's configuration page"),
        (b"bundle = ", "Invalid value"),
        (b"bundle = 1\nbundle = 2", "Cannot overwrite a value"),
        (b"\xff\xfe", "byte 0 is no text in UTF-8; save the file in that encoding"),
        (b"a = " + b"1" * 5000, "Exceeds the limit"),
        (b"a = " + b"[" * 20_000, "nested without end"),
    ],
    ids=["missing", "incomplete", "twice", "not UTF-8", "huge number", "deep"],
)
def test_a_file_that_is_no_toml_is_one_line(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """A file that is missing, incomplete, not UTF-8 or made to exhaust the parser is a ConfigError that names it."""
    path = tmp_path / "device.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        config.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_host_name_that_is_no_name_asks_for_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host's name cannot be a topic level, the device needs an id of its own."""
    monkeypatch.setattr(socket, "gethostname", lambda: "maschine ä")
    assert "device.id is 'maschine ä'" in refusal()
    assert parsed(device={"id": "lathe"}).device.id == "lathe"


KEYS = st.sampled_from(
    [
        *(
            "bundle",
            "camera",
            "device",
            "decision",
            "mqtt",
            "runtime",
            "trusted_keys",
            "health_every_s",
            "kind",
            "path",
        ),
        *("source", "rate", "region", "rotate", "name", "x", "width", "site", "id", "votes", "tls", "threads", "\n"),
    ]
)
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text("a/~\0\n ä-é", max_size=4),
    st.sampled_from(["folder", "video", "picamera2", "rtsp://x", dt.date(2026, 1, 2), dt.time(1), KEY]),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@settings(max_examples=400)
@given(st.dictionaries(KEYS, VALUES, max_size=6), st.booleans())
def test_any_table_is_a_configuration_or_a_config_error(table: Mapping[str, Any], whole: bool) -> None:  # noqa: FBT001
    """Whatever TOML can say, the answer is a Config or a ConfigError on one line."""
    base = {"bundle": "b", "camera": FOLDER} if whole else {}
    try:
        found = config.parse(base | dict(table), FILE)
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert isinstance(found, Config)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """A file from an editor that begins with U+FEFF is read like any other."""
    path = tmp_path / "device.toml"
    path.write_bytes(b'\xef\xbb\xbfbundle = "b"\n[camera]\nkind = "synthetic"\n')
    assert config.load(path).bundle == tmp_path / "b"
