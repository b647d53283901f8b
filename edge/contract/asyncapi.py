"""`python -m edge.contract.asyncapi` writes asyncapi.yaml: contract 4 as an AsyncAPI 3.0 document.

Everything that a class says (fields, limits, words) is taken from edge.contract.messages and edge.contract.commands;
here stands only what no class knows: addresses, expiry, the pictures, and how to be let in. No device imports this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from edge.contract import elsewhere
from edge.contract.commands import COMMANDS, Reply, Request
from edge.contract.messages import LAST_DEFECT, MESSAGES, RETAINED, ROOT, Message, cleanse
from edge.contract.names import NAME_PATTERN

Part: TypeAlias = dict[str, Any]

DOCUMENT = Path(__file__).parents[2] / "asyncapi.yaml"
BINDING = "0.2.0"
"""The version of AsyncAPI's bindings for MQTT."""
LAST_LEVEL = {"alarm": "alarm/{camera}", "image": "image/{event}"}
"""Where a message's topic is more than its name."""
QOS = {"image": 0, LAST_DEFECT: 0}
"""Where it is not 1."""
EXPIRY_SECONDS = {"health": 3_600, "image": 86_400, LAST_DEFECT: 86_400}
"""After which a broker may drop what nobody has fetched, with MQTT 5."""
IMAGE_BYTES = 256 << 10
KEEPALIVE_SECONDS = 30

_PURPOSE = """
A device judges machined parts and says PASS, DEFECT or UNKNOWN of each.

Verdicts (`event`) come at least once and in the order of `seq`: deduplicate by `id`. `seq` has no gaps, but for those
that a `gap` names: what will never arrive is told from what never happened. What is sent again or late is marked
`historical`. Retained messages are states: the newest counts, and an empty one takes it back, as that of a camera which
has another name now. `status` is the last will too.

A request on `cmd/<name>` is answered on `reply/<name>` with the request's `transaction`. The same transaction is not
obeyed twice. Commands are off until the device's configuration allows them by name. A retained one is refused; where
the device speaks MQTT 3.1.1, only from its next connection on, for no broker tells it sooner: publish none retained.

Channels outside `inspect/` belong to Home Assistant, Sparkplug B 3.0 and mosquitto, who define what is said there.

Fields that a receiver does not know are to be ignored: later versions add some. A change that breaks receivers gets
another version in the topic.
"""
_PARAMETERS = {
    "site": "The plant or hall, as in the device's configuration",
    "device": "The device, unique within its site",
    "camera": "The camera's name, as in its events",
    "event": "The `id` of the event that was pictured: a ULID",
    **elsewhere.PARAMETERS,
}
_IMAGES = {
    "image": "`image/<event id>`: the frame of a DEFECT or an UNKNOWN, behind the events. QoS 0, never retained.",
    LAST_DEFECT: "The frame of the newest DEFECT, where Home Assistant is switched on. QoS 0, never retained.",
}


def document() -> Part:
    """Return the whole document."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:edge-inspect:device",
        "info": {
            "title": "edge-inspect device",
            "version": ROOT.rpartition("/v")[2],
            "description": "\n\n".join(" ".join(each.split()) for each in _PURPOSE.split("\n\n")),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {name: _channel(name) for name in _names()},
        "operations": {
            **{name: _telling(name) for name in _told()},
            **{f"cmd-{name}": _asking(name) for name in COMMANDS},
            **{name: _using(name) for name in elsewhere.PLACES},
        },
        "components": _components(),
    }


def write(path: Path) -> None:
    """Write the document as YAML."""
    path.write_bytes(b"# Written by `make schemas` from edge/contract/.\n" + msgspec.yaml.encode(document()))


def _told() -> list[str]:
    return [*MESSAGES, *_IMAGES]


def _names() -> list[str]:
    return [*_told(), *(f"{way}-{name}" for name in COMMANDS for way in ("cmd", "reply")), *elsewhere.PLACES]


def _servers() -> Part:
    will = {"topic": f"{ROOT}/{{site}}/{{device}}/status", "qos": 1, "retain": True}
    mqtt = {
        "clientId": "edge-inspect/{site}/{device}",
        "cleanSession": True,
        "keepAlive": KEEPALIVE_SECONDS,
        "lastWill": will,
        "bindingVersion": BINDING,
    }
    common = {
        "protocolVersion": "5.0",
        "variables": {"broker": {"description": "The broker's name or address", "default": "localhost"}},
        "bindings": {"mqtt": mqtt},
    }
    own, login = _ref("securitySchemes", "certificate"), _ref("securitySchemes", "login")
    tls = "As `edge-deploy broker` sets it up: TLS 1.2 or newer, and a certificate for every client. "
    plain = "For a bench, or a network that nobody else is on. "
    version = "MQTT 5; 3.1.1 where a device is configured so, then without expiry."
    return {
        "hall": {
            "host": "{broker}:8883",
            "protocol": "secure-mqtt",
            "description": tls + version,
            "security": [own, login],
            **common,
        },
        "bench": {
            "host": "{broker}:1883",
            "protocol": "mqtt",
            "description": plain + version,
            "security": [login],
            **common,
        },
    }


def _channel(name: str) -> Part:
    address = _address(name)
    used = [each for each in _PARAMETERS if f"{{{each}}}" in address]
    message = "reply" if name.startswith("reply-") else name
    return {
        "address": address,
        "messages": {message: _ref("messages", message)},
        "parameters": {each: _ref("parameters", each) for each in used},
    }


def _address(name: str) -> str:
    if name in elsewhere.PLACES:
        return elsewhere.PLACES[name].address
    return f"{ROOT}/{{site}}/{{device}}/{LAST_LEVEL.get(name, name.replace('-', '/'))}"


def _telling(name: str) -> Part:
    mqtt: Part = {"qos": QOS.get(name, 1), "retain": name in RETAINED}
    if name in EXPIRY_SECONDS:
        mqtt["messageExpiryInterval"] = EXPIRY_SECONDS[name]
    return {
        "action": "send",
        "summary": _IMAGES.get(name) or _words(MESSAGES[name]),
        "channel": {"$ref": f"#/channels/{name}"},
        "bindings": {"mqtt": {**mqtt, "bindingVersion": BINDING}},
    }


def _asking(name: str) -> Part:
    reply = f"#/channels/reply-{name}"
    return {
        "action": "receive",
        "summary": _words(COMMANDS[name]),
        "channel": {"$ref": f"#/channels/cmd-{name}"},
        "bindings": {"mqtt": {"qos": 1, "retain": False, "bindingVersion": BINDING}},
        "reply": {"channel": {"$ref": reply}, "messages": [{"$ref": f"{reply}/messages/reply"}]},
    }


def _using(name: str) -> Part:
    place = elsewhere.PLACES[name]
    return {
        "action": place.action,
        "summary": place.summary,
        "channel": {"$ref": f"#/channels/{name}"},
        "bindings": {"mqtt": {"qos": place.qos, "retain": place.retain, "bindingVersion": BINDING}},
    }


def _components() -> Part:
    kinds = [*MESSAGES.values(), *COMMANDS.values(), Reply]
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    cleanse(schemas)
    requests = {f"cmd-{name}": _message(f"cmd-{name}", kind) for name, kind in COMMANDS.items()}
    return {
        "messages": {
            **{name: _message(name, kind) for name, kind in MESSAGES.items()},
            **{name: _image(name) for name in _IMAGES},
            **requests,
            "reply": _message("reply", Reply),
            **{name: place.message(name) for name, place in elsewhere.PLACES.items()},
        },
        "schemas": schemas,
        "parameters": {name: {"description": text + _form(name)} for name, text in _PARAMETERS.items()},
        "correlationIds": {
            "transaction": {
                "description": "The asker's word for the request, and the same in its reply",
                "location": "$message.payload#/transaction",
            }
        },
        "securitySchemes": {
            "certificate": {
                "type": "X509",
                "description": "A client certificate; its name is SITE/DEVICE, or `operator` (edge-deploy certify)",
            },
            "login": {"type": "userPassword", "description": "Where the broker has user names"},
        },
    }


def _form(name: str) -> str:
    return "." if name == "event" or name in elsewhere.PARAMETERS else f": `{NAME_PATTERN}`."


def _message(name: str, kind: type[Message | Request]) -> Part:
    asked = {"correlationId": _ref("correlationIds", "transaction")} if issubclass(kind, Request | Reply) else {}
    return {
        "name": name,
        "title": name,
        "summary": _words(kind),
        "contentType": "application/json",
        **asked,
        "payload": _ref("schemas", kind.__name__),
    }


def _image(name: str) -> Part:
    form: Part = {"type": "string", "format": "binary", "maxLength": IMAGE_BYTES, "description": "JPEG, not text"}
    return {
        "name": name,
        "title": name,
        "summary": _IMAGES[name],
        "contentType": "image/jpeg",
        "payload": form,
    }


def _words(kind: type[Message | Request]) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _ref(kind: str, name: str) -> Part:
    return {"$ref": f"#/components/{kind}/{name}"}


if __name__ == "__main__":
    write(DOCUMENT)
