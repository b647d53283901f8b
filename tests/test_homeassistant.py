"""Home Assistant: what it is told of a device, and what it makes of the device's messages."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from home import check
from hypothesis import example, given
from hypothesis import strategies as st
from test_messages import EXAMPLES

from edge import config as configs
from edge.contract.commands import COMMANDS, Request
from edge.contract.messages import Model, Status
from edge.contract.names import NAME
from edge.mqtt import homeassistant

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config import Config

CONTROLS = {"judging": ("pause", "resume"), **{name: (name,) for name in ("threshold", "capture", "restart")}}
PLATFORMS = {"judging": "switch", "threshold": "number", "capture": "button", "restart": "button"}


def configured(allow: tuple[str, ...] = (), **more: Any) -> Config:
    """A device's configuration that introduces it."""
    table = {
        "bundle": "b",
        "camera": {"kind": "synthetic", "name": "cam"},
        "device": {"site": "test", "id": "dut"},
        "homeassistant": {"enabled": True},
        "commands": {"allow": list(allow)},
        **more,
    }
    return configs.parse(table, Path("device.toml"))


def introduced(allow: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return homeassistant.introduction(configured(allow, **more))


# --- what is told


def spoiled(allow: tuple[str, ...], *path: str, **change: Any) -> dict[str, Any]:
    """An introduction with something wrong in it."""
    whole = deepcopy(introduced(allow))
    part = whole
    for key in path:
        part = part[key]
    part.update(change)
    return whole


def test_home_assistant_takes_introductions(figure: Callable[[str], None]) -> None:
    """Whatever is allowed, each entity is valid by its platform's schema; what is not valid is noticed."""
    everything = tuple(COMMANDS)
    good = [introduced(), introduced(everything), introduced(device={"site": "hall-2", "id": "lathe_7"})]
    bad = [
        spoiled(everything, "cmps", "threshold", max=0),
        spoiled(everything, "cmps", "threshold", step=0.0001),
        spoiled((), "cmps", "verdict", evt_typ=None, p="image"),
        spoiled((), "cmps", "defect", colour="red"),
        spoiled((), "dev", ids=[]),
    ]
    for by, wrong in check(good + bad).items():
        figure(f"{len(good)} introductions, {by}: {sum(map(len, wrong[: len(good)]))} complaints")
        assert [bool(each) for each in wrong] == [False] * len(good) + [True] * len(bad), (by, wrong)


@given(*[st.from_regex(NAME, fullmatch=True)] * 4)
@example("a", "a", "a", "a")
@example("a", "a-a", "a-a", "a")
@example("a", "a_a", "a_a", "a")
@example("a", "aa", "aa", "a")
def test_no_two_devices_share_an_id(site: str, name: str, other_site: str, other_name: str) -> None:
    """Ids and topics are the same at each start, and no other site's or device's are among them."""
    one, again = (introduced(device={"site": site, "id": name}) for _ in range(2))
    assert one == again
    two = introduced(device={"site": other_site, "id": other_name})

    def ids(introduction: dict[str, Any]) -> set[str]:
        return {entity["uniq_id"] for entity in introduction["cmps"].values() if "uniq_id" in entity}

    assert len(ids(one)) == len([entity for entity in one["cmps"].values() if len(entity) > 1])
    same = (site, name) == (other_site, other_name)
    assert bool(ids(one) & ids(two)) == same
    assert (one["dev"]["ids"] == two["dev"]["ids"]) == same


@pytest.mark.parametrize("control", CONTROLS)
def test_only_what_is_allowed_can_be_operated(control: str) -> None:
    """An entity is there if all commands that it needs are allowed; else it is taken back, and no topic is named."""
    entities = introduced(CONTROLS[control])["cmps"]
    for name, platform in PLATFORMS.items():
        assert (entities[name] == {"p": platform}) == (name != control)
    without = introduced(tuple(command for command in COMMANDS if command != CONTROLS[control][0]))["cmps"]
    assert without[control] == {"p": PLATFORMS[control]}
    assert not any("cmd_t" in entity for entity in introduced()["cmps"].values())


# --- its templates, rendered as Home Assistant does it


def rendered(template: str, **values: Any) -> str:
    jinja2 = pytest.importorskip("jinja2")
    environment = jinja2.Environment(undefined=jinja2.Undefined)
    environment.filters["to_json"] = json.dumps
    environment.globals["now"] = datetime.now
    return str(environment.from_string(template).render(**values)).strip()


def seen(entity: str, message: Any, key: str = "val_tpl", **old: Any) -> str:
    """What an entity makes of a message, after one with the attributes `old`."""
    plain = json.loads(msgspec.json.encode(message))
    template = introduced(tuple(COMMANDS))["cmps"][entity][key]
    return rendered(template, value_json=plain, this=SimpleNamespace(attributes=SimpleNamespace(**old)))


def test_states_come_from_messages() -> None:
    """Each template finds its value in the message of its topic; what is null there is None, which is unknown."""
    health = EXAMPLES["health"]
    plain = json.loads(msgspec.json.encode(health))
    for name, path in (("rate", "fps"), ("memory", "rss_mib"), ("waiting", "messages_waiting")):
        assert float(seen(name, health)) == plain[path]
    assert float(seen("latency_p95", health)) == plain["latency_ms"]["p95"]
    assert float(seen("temperature", health)) == plain["machine"]["cpu_c"]
    assert float(seen("disk", health)) == plain["machine"]["disk_free_mib"]
    blind = msgspec.structs.replace(health, machine=None)
    assert (seen("temperature", blind), seen("disk", blind)) == ("None", "None")
    silent = msgspec.structs.replace(health, latency_ms={}, verdicts={})
    assert (seen("latency_p50", silent), seen("verdicts_defect", silent)) == ("None", "0")
    assert seen("defect", EXAMPLES["alarm"]) == "ON"
    assert json.loads(seen("defect", EXAMPLES["alarm"], "json_attr_tpl"))["label"] == "crack"
    status = EXAMPLES["status"]
    assert isinstance(status, Status)
    assert seen("judging", status) == "ON"
    assert seen("judging", msgspec.structs.replace(status, paused=True)) == "OFF"
    settings = EXAMPLES["config"]
    for value, shown in ((0.25, "0.25"), (None, "None")):
        changed = msgspec.structs.replace(settings, values={"decision.threshold": value})
        assert seen("threshold", changed) == shown
    model = EXAMPLES["model"]
    assert isinstance(model, Model)
    assert json.loads(seen("model", model))["installed_version"] == f"2026-01-02 {model.bundle_sha256[:8]}"


@pytest.mark.parametrize(("state", "shown"), [("online", "online"), ("degraded", "online"), ("offline", "offline")])
def test_a_degraded_device_is_available(state: str, shown: str) -> None:
    """Only a device that is offline cannot be asked."""
    assert rendered(introduced()["avty_tpl"], value_json={"state": state}) == shown


def test_a_verdict_fires_once_and_while_it_is_new() -> None:
    """Neither a historical verdict nor one that is delivered twice is an event, but the first of a new start is."""
    event: Any = EXAMPLES["event"]
    fired = json.loads(seen("verdict", event))
    assert (fired["event_type"], fired["label"], fired["id"]) == ("DEFECT", "crack", event.id)
    assert seen("verdict", msgspec.structs.replace(event, historical=True)) == ""
    assert seen("verdict", event, boot_id=event.boot_id, seq=event.seq) == ""
    assert seen("verdict", event, boot_id=event.boot_id, seq=event.seq - 1) != ""
    assert seen("verdict", event, boot_id="another", seq=event.seq + 5) != ""


def asked(entity: str, value: Any = None) -> Request:
    """What a device reads of what Home Assistant asks through an entity."""
    described = introduced(tuple(COMMANDS))["cmps"][entity]
    payload = rendered(described["cmd_tpl"], value=value)
    return msgspec.json.decode(payload, type=COMMANDS[described["cmd_t"].rpartition("/")[2]])


def test_what_is_asked_is_understood() -> None:
    """Each control asks for what its name says, in a form that the device takes, each time in a new transaction."""
    requests: list[Any] = [asked("capture"), asked("restart"), asked("threshold", 0.5), asked("threshold", 1)]
    requests += [asked("judging", "ON"), asked("judging", "OFF")]
    assert [request.value for request in requests[2:4]] == [0.5, 1]
    assert [request.on for request in requests[4:]] == [False, True]
    assert len({request.transaction for request in requests}) == len(requests)
