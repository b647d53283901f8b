"""Contract 4: what is sent is what the schemas say."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from edge.contract import commands, messages
from edge.contract.messages import (
    Alarm,
    Event,
    Gap,
    Health,
    Info,
    Latency,
    Machine,
    Message,
    Model,
    Settings,
    Stages,
    Status,
    Verdict,
)
from edge.contract.ulid import PATTERN, new_ulid

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
BOOT = new_ulid()
EVENT = Event(
    id=new_ulid(),
    seq=1,
    boot_id=BOOT,
    time=NOW,
    clock_synced=True,
    camera="camera",
    region="frame",
    trigger="free-running",
    source="a/b.png",
    verdict=Verdict.DEFECT,
    frame_verdict=Verdict.DEFECT,
    reason="",
    label="crack",
    score=0.75,
    scores={"crack": 0.75, "good": 0.25},
    threshold=0.5,
    model="0" * 64,
    latency_ms=Latency(wait=0.1, preprocess=1, invoke=2, total=3.5),
)
EXAMPLES: dict[str, Message] = {
    "event": EVENT,
    "gap": Gap(first=3, last=7, reason="shed", verdicts={Verdict.PASS: 4, Verdict.UNKNOWN: 1}),
    "alarm": Alarm(active=True, event=EVENT.id, label="crack", score=0.75, boot_id=BOOT, time=NOW),
    "status": Status(state="online", reason="", boot_id=BOOT, time=NOW),
    "info": Info(version="1", python="3.11", platform="linux", runtime="r", camera="c", boot_id=BOOT, time=NOW),
    "config": Settings(values={"decision.votes": 2}, boot_id=BOOT, time=NOW),
    "model": Model(
        name="m",
        sha256="a" * 64,
        bundle_sha256="b" * 64,
        labels={"good": "PASS", "crack": "DEFECT"},
        created=NOW,
        code_version="1",
        metrics={"accuracy": 0.99},
        boot_id=BOOT,
        time=NOW,
    ),
    "health": Health(
        boot_id=BOOT,
        time=NOW,
        uptime_s=1.5,
        frames_captured=3,
        frames_dropped=1,
        frames_judged=2,
        fps=4.5,
        verdicts={Verdict.PASS: 2},
        camera_failures=1,
        triggers_waiting=2,
        triggers_refused=1,
        switches_late=0,
        judging_share=0.5,
        latency_ms={"p50": 1.0, "p95": 2.0, "p99": 3.0},
        stages_ms=Stages(wait={"p50": 0.25, "p95": 0.5, "p99": 0.75}, preprocess={}, invoke={}),
        verdicts_unwritten=1,
        notes_waiting=0,
        messages_waiting=0,
        messages_lost=0,
        pictures_waiting=0,
        pictures_lost=1,
        commands_overlooked=2,
        commands_refused=4,
        connections_failed=3,
        rss_mib=50.5,
        machine=Machine(
            time=NOW,
            cpu_c=61.5,
            slowed=True,
            under_voltage=False,
            cores=4,
            load=0.75,
            cpu_share=0.5,
            memory_available_mib=512.0,
            worker_rss_mib=None,
            disk_free_mib=1024.0,
            descriptors=20,
            threads=12,
        ),
    ),
}


# Without a further package jsonschema does not look at date-time; Python reads RFC 3339 itself.
FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    """Whether a text is a time with its zone."""
    return not isinstance(value, str) or ("T" in value and datetime.fromisoformat(value).tzinfo is not None)


def validator(name: str) -> Draft202012Validator:
    """The validator of a committed schema, formats included."""
    schema = json.loads((messages.SCHEMA_FOLDER / f"{name}.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FORMATS)


def test_every_message_has_an_example_and_a_schema() -> None:
    """No message is left out here, and the folder holds no schema of a message that is gone."""
    assert set(EXAMPLES) == set(messages.MESSAGES)
    assert {path.stem for path in messages.SCHEMA_FOLDER.glob("*.json")} == {*messages.MESSAGES, *commands.schemas()}
    assert set(messages.MESSAGES) > messages.RETAINED
    assert "event" not in messages.RETAINED


@pytest.mark.parametrize("name", messages.MESSAGES)
def test_schemas_on_disk_are_the_classes(name: str) -> None:
    """The committed schema is what the class says; after a change: python -m edge.contract.messages."""
    assert json.loads((messages.SCHEMA_FOLDER / f"{name}.json").read_bytes()) == messages.schemas()[name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_encoded_messages_are_valid_and_come_back(name: str) -> None:
    """What `encode` sends is UTF-8 JSON that the schema accepts, and decodes to the same message."""
    raw = messages.encode(EXAMPLES[name])
    validator(name).validate(json.loads(raw.decode()))
    assert msgspec.json.decode(raw, type=messages.MESSAGES[name]) == EXAMPLES[name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_schemas_refuse_what_is_missing_or_wrong(name: str) -> None:
    """Each field that has no default is required, and none of them may be a table."""
    data = json.loads(messages.encode(EXAMPLES[name]))
    required = set(messages.schemas()[name]["$defs"][type(EXAMPLES[name]).__name__]["required"])
    for field in data:
        with pytest.raises(ValidationError):
            validator(name).validate(data | {field: {"": {}}})
        if field in required:
            with pytest.raises(ValidationError):
                validator(name).validate({key: value for key, value in data.items() if key != field})


def test_receivers_may_be_older_than_senders() -> None:
    """A field that a later version adds is ignored by this one, and by its schema."""
    data: dict[str, Any] = json.loads(messages.encode(EVENT)) | {"added_later": 1}
    validator("event").validate(data)
    assert msgspec.convert(data, Event, strict=False) == EVENT


@pytest.mark.parametrize("changes", [{"time": "yesterday"}, {"time": "2026-01-02T03:04:05"}, {"id": "x"}, {"score": 2}])
def test_the_schema_holds_formats_and_ranges(changes: dict[str, Any]) -> None:
    """A time without its zone, an id that is no ULID and a score above 1 are refused."""
    with pytest.raises(ValidationError):
        validator("event").validate(json.loads(messages.encode(EVENT)) | changes)


@given(
    time=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30))])),
    reason=st.text('aä\0"\\\n😀', max_size=10),
    score=st.none() | st.floats(0, 1),
    seq=st.integers(1, 2**63),
)
def test_any_event_is_valid(time: datetime, reason: str, score: float | None, seq: int) -> None:
    """Times in any zone, any text, any score and large numbers make a valid event."""
    event = msgspec.structs.replace(EVENT, time=time, reason=reason, score=score, seq=seq)
    raw = messages.encode(event)
    validator("event").validate(json.loads(raw))
    assert msgspec.json.decode(raw, type=Event) == event


def test_topics_are_built_from_names() -> None:
    """A topic is the root, site, device and message."""
    assert messages.topic("hall-2", "lathe_7", "event") == "inspect/v1/hall-2/lathe_7/event"


@pytest.mark.parametrize("name", ["", "+", "#", "a/b", "a b", "$SYS", "ä", "a\n", "a\0", "-a", "a" * 65, "a+"])
def test_topics_refuse_what_would_change_them(name: str) -> None:
    """A wildcard, a slash, a space or a line's end in site or device never reaches a topic."""
    for levels in ((name, "device"), ("site", name)):
        with pytest.raises(ValueError, match="cannot be a topic level"):
            messages.topic(*levels, "event")


def test_ulids_sort_by_time_and_match_their_pattern() -> None:
    """Ids are unique, as the schema's pattern wants them, and carry the milliseconds of now."""
    before = int(datetime.now(UTC).timestamp() * 1000)
    ids = [new_ulid() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(re.search(PATTERN, one) for one in ids)
    millis = [int("".join(f"{'0123456789ABCDEFGHJKMNPQRSTVWXYZ'.index(c):05b}" for c in one)[:50], 2) for one in ids]
    assert millis == sorted(millis)
    assert 0 <= millis[0] - before < 10_000
