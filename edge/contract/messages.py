"""Contract 4: what goes over MQTT, its topics and its JSON Schemas.

`python -m edge.contract.messages` rewrites schema/*.json from the classes here.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from edge.contract.names import NAME, NAME_PATTERN
from edge.contract.ulid import PATTERN as ULID_PATTERN

ROOT = "inspect/v1"
SCHEMA_FOLDER = Path(__file__).parent / "schema"


class Verdict(StrEnum):
    """What the machine shop wants to know of the part."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    DEFECT = "DEFECT"
    UNKNOWN = "UNKNOWN"


def _doc(text: str, **limits: Any) -> msgspec.Meta:
    return msgspec.Meta(description=text, **limits)


Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Time: TypeAlias = Annotated[datetime, _doc("RFC 3339, UTC", tz=True)]
Ulid: TypeAlias = Annotated[str, msgspec.Meta(pattern=ULID_PATTERN)]
Sha256: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Fraction: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Size: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]
Milliseconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]
BootId: TypeAlias = Annotated[Ulid, _doc("one per start of the daemon")]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all messages. Receivers ignore fields they do not know."""


class Latency(Message, frozen=True, kw_only=True):
    """Where one frame's time went, in milliseconds on the monotonic clock."""

    wait: Annotated[Milliseconds, _doc("from the exposure until judging began")]
    preprocess: Milliseconds
    invoke: Annotated[Milliseconds, _doc("the interpreter on all tiles, with copying in and out, and pooling")]
    total: Annotated[Milliseconds, _doc("from the exposure until the verdict")]


class Event(Message, frozen=True, kw_only=True):
    """`event`: one verdict about one part. QoS 1, never retained."""

    id: Annotated[Ulid, _doc("deduplicate by this: delivery is at least once")]
    seq: Annotated[int, _doc("counts a device's verdicts without gaps, but for those that a `gap` names", ge=1)]
    boot_id: BootId
    time: Annotated[datetime, _doc("when the frame was exposed: RFC 3339, UTC", tz=True)]
    clock_synced: Annotated[bool, _doc("false: trust seq, not time")]
    camera: Name
    region: str
    trigger: Annotated[str, _doc("the trigger this verdict answers; each gets exactly one")]
    source: Annotated[str, _doc("which frame: a file's path in its folder, or the camera's frame number")]
    verdict: Annotated[Verdict, _doc("after smoothing over the camera's last frames")]
    frame_verdict: Annotated[Verdict, _doc("of this frame alone")]
    reason: Annotated[str, _doc("why it is UNKNOWN; empty otherwise")]
    label: Annotated[str | None, _doc("the likeliest class of frame_verdict's side; null if none was computed")]
    score: Annotated[Fraction | None, _doc("of `label`")]
    scores: dict[str, Fraction]
    threshold: Annotated[Fraction, _doc("P(defect) from which a frame is DEFECT")]
    model: Annotated[Sha256 | None, _doc("of the model file")]
    latency_ms: Latency
    historical: Annotated[bool, _doc("sent again or late, not live")] = False


Reason: TypeAlias = Literal["shed", "damaged"]


class Gap(Message, frozen=True, kw_only=True):
    """`gap`: verdicts that were given and will never arrive. QoS 1, never retained, in order with the events."""

    first: Annotated[int, _doc("the `seq` of the first of them", ge=1)]
    last: Annotated[int, _doc("the `seq` of the last of them", ge=1)]
    reason: Annotated[Reason, _doc("shed: there was no room for it; damaged: it could not be read any more")]
    verdicts: Annotated[dict[Verdict, Count], _doc("how many of each; empty if that is not known")]


class Alarm(Message, frozen=True, kw_only=True):
    """`alarm/<camera>`: retained; whether the last part that was judged is a defect. Overtakes waiting events."""

    active: Annotated[bool, _doc("true from a DEFECT until the next PASS")]
    event: Annotated[Ulid | None, _doc("the `id` of the event that says so; null: no camera has this name any more")]
    label: Annotated[str | None, _doc("as in the event")]
    score: Annotated[Fraction | None, _doc("as in the event")]
    boot_id: BootId
    time: Annotated[datetime, _doc("as in the event", tz=True)]


class Status(Message, frozen=True, kw_only=True):
    """`status`: retained; its offline form is also the last will."""

    state: Annotated[
        Literal["online", "offline", "degraded"],
        _doc("online: all is well, parts are judged; degraded: `reason` says what is wrong, or that it still starts"),
    ]
    reason: str
    paused: Annotated[bool, _doc("by command: nothing is judged until it is resumed")] = False
    boot_id: BootId
    time: Time


class Info(Message, frozen=True, kw_only=True):
    """`info`: retained; what this device is."""

    version: str
    python: str
    platform: str
    runtime: Annotated[str, _doc("interpreter and its version")]
    camera: Name
    boot_id: BootId
    time: Time


class Model(Message, frozen=True, kw_only=True):
    """`model`: retained; what it judges with."""

    name: str
    sha256: Annotated[Sha256, _doc("of the model file, as in events")]
    bundle_sha256: Annotated[Sha256, _doc("of manifest.json: the decision rule included")]
    labels: dict[str, Literal["PASS", "DEFECT"]]
    created: Time
    code_version: str
    metrics: dict[str, float]
    boot_id: BootId
    time: Time


class Settings(Message, frozen=True, kw_only=True):
    """`config`: retained; the settings that may be changed by command, as they are."""

    values: Annotated[dict[str, float | None], _doc("by key; null: the bundle's own rule")]
    boot_id: BootId
    time: Time


class Accelerator(Message, frozen=True, kw_only=True):
    """How the accelerator fares, counted since the daemon's start."""

    kind: Literal["edgetpu"]
    state: Annotated[
        Literal["opening", "accelerated", "cpu"],
        _doc("opening: the CPU judges until it was first tried; cpu: it failed, `status` says why, and is tried again"),
    ]
    failures: Annotated[Count, _doc("of invokes, and of attempts to open it")]
    invokes: Annotated[Count, _doc("canvases that it answered for: the CPU judged all others")]
    temperature_c: Annotated[float | None, _doc("of the chip, in degrees Celsius; null: it has no sensor (USB)")]


class Machine(Message, frozen=True, kw_only=True):
    """The computer that judges, and what of it the daemon takes; looked at every ten seconds."""

    time: Annotated[datetime, _doc("when it was looked at: RFC 3339, UTC", tz=True)]
    cpu_c: Annotated[float | None, _doc("the processor's hottest zone, in degrees Celsius; null: it has no sensor")]
    slowed: Annotated[bool, _doc("a Raspberry Pi's firmware slows it for its heat")]
    under_voltage: Annotated[bool, _doc("a Raspberry Pi's power supply is too weak")]
    cores: Count
    load: Annotated[float, _doc("tasks that run or wait for a disk, the mean of a minute", ge=0)]
    cpu_share: Annotated[float, _doc("cores kept busy by daemon and accelerator's process since the last look", ge=0)]
    memory_available_mib: Annotated[Size | None, _doc("for whoever asks, before anything is swapped")]
    worker_rss_mib: Annotated[Size | None, _doc("memory of the accelerator's process; null: there is none")]
    disk_free_mib: Annotated[Size | None, _doc("where verdicts are kept; null: the disk does not say")]
    descriptors: Annotated[Count, _doc("files and sockets that the daemon has open")]
    threads: Annotated[Count, _doc("of the daemon")]


Percentiles: TypeAlias = dict[str, Milliseconds]
_OF_TOTAL = "p50, p95, p99 of `total` since the last health message, asked for since the one before; within 1%"


class Stages(Message, frozen=True, kw_only=True):
    """Where the time of all frames went, as in `Latency`: p50, p95 and p99 in milliseconds."""

    wait: Percentiles
    preprocess: Percentiles
    invoke: Percentiles


class Health(Message, frozen=True, kw_only=True):
    """`health`: retained; how it fares, counted since the daemon's start."""

    boot_id: BootId
    time: Time
    uptime_s: Annotated[float, _doc("since judging began", ge=0)]
    frames_captured: Annotated[Count, _doc("since judging began: what a live camera saw before is left out")]
    frames_dropped: Annotated[Count, _doc("overtaken by a newer frame before they could be judged")]
    frames_judged: Count
    camera_failures: Annotated[Count, _doc("how often a camera that is opened again did not open, or failed")]
    triggers_waiting: Annotated[Count, _doc("fired from outside and not judged yet")]
    triggers_refused: Annotated[Count, _doc("UNKNOWN at once: too many others waited for their verdicts")]
    switches_late: Annotated[Count, _doc("of output pins, after their time: the verdict took longer than the delay")]
    judging_share: Annotated[Fraction, _doc("of the time that it may spend judging: below 1 while it is too hot")]
    fps: Annotated[float, _doc("judged per second since the last health message", ge=0)]
    verdicts: dict[Verdict, Count]
    latency_ms: Annotated[Percentiles, _doc(_OF_TOTAL)]
    stages_ms: Annotated[Stages, _doc("the same of each stage; empty where nothing came so far")]
    verdicts_unwritten: Annotated[Count, _doc("not on the disk yet; part of messages_waiting")]
    messages_waiting: Annotated[Count, _doc("not yet acknowledged by the broker")]
    messages_lost: Annotated[Count, _doc("shed before the broker had them: no room was left; each is in a `gap`")]
    notes_waiting: Annotated[Count, _doc("what other threads told the one that publishes, and it has not heard yet")]
    pictures_waiting: Annotated[Count, _doc("made and not yet sent")]
    pictures_lost: Annotated[Count, _doc("not made, not kept, or removed before they were sent: no time or no room")]
    commands_overlooked: Annotated[Count, _doc("requests beyond the rate: not looked at, not answered")]
    commands_refused: Annotated[Count, _doc("requests that were not obeyed: not allowed, not valid, or retained")]
    connections_failed: Annotated[Count, _doc("attempts to reach the broker that were in vain, or refused")]
    rss_mib: Annotated[Size, _doc("memory of the daemon")]
    machine: Annotated[Machine | None, _doc("null: it was not looked at in the last minute")] = None
    accelerator: Annotated[Accelerator | None, _doc("null: none is configured")] = None


MESSAGES: dict[str, type[Message]] = {
    "event": Event,
    "gap": Gap,
    "alarm": Alarm,
    "status": Status,
    "info": Info,
    "config": Settings,
    "model": Model,
    "health": Health,
}
RETAINED = frozenset({"status", "info", "config", "model", "health", "alarm"})
LAST_DEFECT = "last_defect"
"""Where Home Assistant, which can tell no picture's verdict, finds that of the last DEFECT: a JPEG."""


def topic(site: str, device: str, name: str) -> str:
    """Return the topic of one message; `site` and `device` match NAME, else ValueError."""
    for level in (site, device):
        if not re.fullmatch(NAME, level):
            raise ValueError(f"{level!r} cannot be a topic level: letters, digits, _ and - only, 64 at most")
    return f"{ROOT}/{site}/{device}/{name}"


def encode(message: Message) -> bytes:
    """Encode as UTF-8 JSON."""
    return msgspec.json.encode(message)


def schemas() -> dict[str, dict[str, Any]]:
    """Return every message's JSON Schema (2020-12) by message name."""
    return {name: schema(name, kind) for name, kind in MESSAGES.items()}


def schema(name: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of one message, or of what is asked for by one."""
    body = msgspec.json.schema(kind)
    cleanse(body["$defs"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{ROOT}/{name}.json",
        "title": name,
        **body,
    }


def cleanse(parts: dict[str, dict[str, Any]]) -> None:
    """Take the indentation from the descriptions of schemas, which are docstrings, as Python 3.13 does by itself."""
    import inspect

    for part in parts.values():
        if "description" in part:
            part["description"] = inspect.cleandoc(part["description"])


def write_schemas(folder: Path, bodies: dict[str, dict[str, Any]]) -> None:
    """Write <message>.json into a folder, one file a message."""
    for name, body in bodies.items():
        (folder / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n")


if __name__ == "__main__":
    write_schemas(SCHEMA_FOLDER, schemas())
