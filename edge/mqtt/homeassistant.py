"""Introduces the device to Home Assistant: one retained message names its entities and where their states come from.

Topics, keys and their abbreviations are those of its MQTT integration's device discovery, as of its version 2025.4:
https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
Older ones, from 2024.11 on, show the same, but keep the entities of a device on a topic of two levels until they are
restarted, when its introduction is taken back.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from edge import __version__
from edge.config import Device
from edge.contract import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.config import Config

Entity: TypeAlias = dict[str, Any]
_Topic: TypeAlias = "Callable[[str], str]"

_TRANSACTION = '"transaction": "ha-{{ now().timestamp() }}"'
"""New each time: the same one is not obeyed twice."""
_ASK = f"{{{_TRANSACTION}}}"
_DIAGNOSTIC = {"ent_cat": "diagnostic"}
_COUNT = {"stat_cla": "total_increasing"}
_GAUGE = {"stat_cla": "measurement"}
_DURATION = {**_GAUGE, **_DIAGNOSTIC, "dev_cla": "duration", "unit_of_meas": "ms", "sug_dsp_prc": 1}

# Neither a verdict that comes late or again by `replay` fires, nor one that a broker delivers twice.
_EVENT = """\
{% set old = this.attributes %}
{% if not value_json.historical and not (old.boot_id == value_json.boot_id and value_json.seq <= old.seq) %}
{{ {
  'event_type': value_json.verdict, 'label': value_json.label, 'score': value_json.score,
  'threshold': value_json.threshold, 'reason': value_json.reason, 'camera': value_json.camera,
  'id': value_json.id, 'seq': value_json.seq, 'boot_id': value_json.boot_id
} | to_json }}
{% endif %}"""
# The device knows of no model but its own: that is the newest until somebody brings another.
_MODEL = """\
{% set version = value_json.created[:10] ~ ' ' ~ value_json.bundle_sha256[:8] %}
{{ {'installed_version': version, 'latest_version': version, 'title': value_json.name} | to_json }}"""


def topic(config: Config) -> str:
    """Return where a device introduces itself."""
    return f"{config.homeassistant.prefix}/device/{config.device.site}/{config.device.id}/config"


def introduction(config: Config) -> dict[str, Any]:
    """Return what is said there. An entity that needs a command which is not allowed is taken back.

    Unique ids are made of site and device, neither of which has a slash: no other device's are the same.
    """
    device = config.device
    at = partial(messages.topic, device.site, device.id)
    identity = f"inspect/{device.site}/{device.id}"
    about: Entity = {
        "ids": [identity],
        "name": device.id,
        "mf": "edge-inspect",
        "mdl": "Visual inspection",
        "sw": __version__,
    }
    if device.site != Device().site:
        about["sa"] = device.site
    entities = {**_views(at, config.camera.name), **_figures(at("health")), **_controls(at, config.commands.allow)}
    return {
        "dev": about,
        "o": {"name": "edge-inspect", "sw": __version__},
        "avty_t": at("status"),
        "avty_tpl": "{{ 'offline' if value_json.state == 'offline' else 'online' }}",
        "cmps": {
            # One with a platform and nothing else is taken back.
            key: {"uniq_id": f"{identity}/{key}", "qos": 1, **entity} if len(entity) > 1 else entity
            for key, entity in entities.items()
        },
    }


def _views(at: _Topic, camera: str) -> dict[str, Entity]:
    """Return what the device sees and says of itself."""
    return {
        "verdict": {
            "p": "event",
            "name": "Verdict",
            "stat_t": at("event"),
            "evt_typ": [verdict.value for verdict in messages.Verdict],
            "val_tpl": _EVENT,
        },
        "defect": {
            "p": "binary_sensor",
            "name": "Defect",
            "dev_cla": "problem",
            "stat_t": at(f"alarm/{camera}"),
            "val_tpl": "{{ 'ON' if value_json.active else 'OFF' }}",
            "json_attr_t": at(f"alarm/{camera}"),
            "json_attr_tpl": "{{ {'event': value_json.event, 'label': value_json.label, 'score': value_json.score}"
            " | to_json }}",
        },
        "picture": {"p": "image", "name": "Last defect", "img_t": at(messages.LAST_DEFECT), "cont_type": "image/jpeg"},
        "model": {"p": "update", "name": "Model", **_DIAGNOSTIC, "stat_t": at("model"), "val_tpl": _MODEL},
        "condition": {
            "p": "sensor",
            "name": "Condition",
            **_DIAGNOSTIC,
            "dev_cla": "enum",
            "ops": ["online", "degraded", "offline"],
            "stat_t": at("status"),
            "val_tpl": "{{ value_json.state }}",
            "json_attr_t": at("status"),
            "json_attr_tpl": "{{ {'reason': value_json.reason} | to_json }}",
        },
    }


def _figures(health: str) -> dict[str, Entity]:
    """Return the numbers of `health`; its counts begin again with each start, which `total_increasing` allows for."""
    counts: dict[str, Entity] = {
        f"verdicts_{verdict.lower()}": {
            "name": f"Verdicts {verdict}",
            "val_tpl": f"{{{{ value_json.verdicts.{verdict} | default(0) }}}}",
            **_COUNT,
        }
        for verdict in messages.Verdict
    }
    percentiles: dict[str, Entity] = {
        f"latency_{name}": {
            "name": f"Latency {name}",
            # Absent while nothing is judged; None is what Home Assistant takes for unknown.
            "val_tpl": f"{{{{ value_json.latency_ms.{name} | default(none) }}}}",
            **_DURATION,
        }
        for name in ("p50", "p95", "p99")
    }
    others: dict[str, Entity] = {
        "rate": {"name": "Rate", "val_tpl": _field("fps"), "unit_of_meas": "fps", **_GAUGE},
        "dropped": {"name": "Frames dropped", "val_tpl": _field("frames_dropped"), **_COUNT},
        "waiting": {"name": "Messages waiting", "val_tpl": _field("messages_waiting"), **_GAUGE},
        "lost": {"name": "Messages lost", "val_tpl": _field("messages_lost"), **_COUNT},
        "memory": {
            "name": "Memory",
            "val_tpl": _field("rss_mib"),
            "dev_cla": "data_size",
            "unit_of_meas": "MiB",
            **_GAUGE,
        },
    }
    others |= _machine()
    diagnostics = {key: {**_DIAGNOSTIC, **figure} for key, figure in {**percentiles, **others}.items()}
    return {key: {"p": "sensor", "stat_t": health, **figure} for key, figure in {**counts, **diagnostics}.items()}


def _machine() -> dict[str, Entity]:
    """Return what the computer says of itself; unknown where it was not looked at, or has no such sensor."""
    return {
        "temperature": {
            "name": "Temperature",
            "val_tpl": "{{ (value_json.machine or {}).cpu_c | default(none) }}",
            "dev_cla": "temperature",
            "unit_of_meas": "°C",
            "sug_dsp_prc": 0,
            **_GAUGE,
        },
        "disk": {
            "name": "Free disk",
            "val_tpl": "{{ (value_json.machine or {}).disk_free_mib | default(none) }}",
            "dev_cla": "data_size",
            "unit_of_meas": "MiB",
            "sug_dsp_prc": 0,
            **_GAUGE,
        },
    }


def _field(name: str) -> str:
    return f"{{{{ value_json.{name} }}}}"


def _controls(at: _Topic, allowed: tuple[str, ...]) -> dict[str, Entity]:
    """Return what may be asked of the device."""
    switch: Entity = {
        "p": "switch",
        "name": "Judging",
        "stat_t": at("status"),
        "val_tpl": "{{ 'OFF' if value_json.paused else 'ON' }}",
        "cmd_t": at("cmd/pause"),
        "cmd_tpl": f"{{{_TRANSACTION}, \"on\": {{{{ 'false' if value == 'ON' else 'true' }}}}}}",
    }
    number: Entity = {
        "p": "number",
        "name": "Threshold",
        "ent_cat": "config",
        "min": 0.001,
        "max": 1,
        "step": 0.001,
        "mode": "box",
        "stat_t": at("config"),
        # Null, the model's own rule, is unknown here.
        "val_tpl": "{{ value_json['values']['decision.threshold'] }}",
        "cmd_t": at("cmd/threshold"),
        "cmd_tpl": f'{{{_TRANSACTION}, "value": {{{{ value }}}}}}',
    }
    capture: Entity = {"p": "button", "name": "Capture", "cmd_t": at("cmd/capture"), "cmd_tpl": _ASK}
    restart: Entity = {"p": "button", "name": "Restart", "ent_cat": "config", "dev_cla": "restart"}
    restart |= {"cmd_t": at("cmd/restart"), "cmd_tpl": _ASK}
    needs: dict[str, tuple[Entity, set[str]]] = {
        "judging": (switch, {"pause", "resume"}),
        "threshold": (number, {"threshold"}),
        "capture": (capture, {"capture"}),
        "restart": (restart, {"restart"}),
    }
    return {
        key: entity if commands <= set(allowed) else {"p": entity["p"]} for key, (entity, commands) in needs.items()
    }
