"""For asyncapi.yaml: the topics outside our own that a device uses too, whose payloads others have defined."""

from __future__ import annotations

from typing import Any, Literal

from edge.record import Record

_HOME_ASSISTANT = "https://www.home-assistant.io/integrations/mqtt/"
_SPARKPLUG = "https://sparkplug.eclipse.org/specification/version/3.0/documents/sparkplug-specification-3.0.0.pdf"
_MOSQUITTO = "https://mosquitto.org/man/mosquitto-8.html"
_JSON, _TEXT, _PROTOBUF = "application/json", "text/plain", "application/x-protobuf"
PARAMETERS = {
    "prefix": "`homeassistant.prefix` of the device's configuration",
    "group": "`sparkplug.group_id` of the device's configuration",
    "node": "`sparkplug.edge_node_id` of the device's configuration, or the device's id",
    "host": "`sparkplug.primary_host_id` of the device's configuration",
}


class Place(Record, frozen=True, kw_only=True):
    """One topic: who speaks there and how."""

    address: str
    action: Literal["send", "receive"]
    summary: str
    kind: str
    """Of the payload: its media type."""
    docs: str
    """Where it is defined."""
    qos: int
    """Of the message, or of the subscription."""
    retain: bool = False

    def message(self, name: str) -> dict[str, Any]:
        """Return what the document says of the payload: that it is none of ours."""
        told = {"name": name, "title": name, "summary": self.summary, "contentType": self.kind}
        return {**told, "externalDocs": {"url": self.docs}}


def _sparkplug(kind: str, action: Literal["send", "receive"], summary: str, qos: int) -> Place:
    address = f"spBv1.0/{{group}}/{kind}/{{node}}"
    return Place(address=address, action=action, summary=summary, kind=_PROTOBUF, docs=_SPARKPLUG, qos=qos)


PLACES = {
    "homeassistant": Place(
        address="{prefix}/device/{site}/{device}/config",
        action="send",
        summary="With [homeassistant]: retained; introduces the device to Home Assistant. Empty: it is taken back.",
        kind=_JSON,
        docs=_HOME_ASSISTANT,
        qos=1,
        retain=True,
    ),
    "homeassistant-status": Place(
        address="homeassistant/status",
        action="receive",
        summary="With [homeassistant]: when it says `online` the device introduces itself again.",
        kind=_TEXT,
        docs=_HOME_ASSISTANT,
        qos=1,
    ),
    "sparkplug-nbirth": _sparkplug(
        "NBIRTH", "send", "With [sparkplug]: all metrics. The device subscribes to it too, to see its own.", 0
    ),
    "sparkplug-ndata": _sparkplug("NDATA", "send", "With [sparkplug]: each verdict, and each gap.", 0),
    "sparkplug-ndeath": _sparkplug("NDEATH", "send", "With [sparkplug]: the node is gone; the last will too.", 1),
    "sparkplug-ncmd": _sparkplug("NCMD", "receive", "With [sparkplug]: a host asks for a rebirth.", 1),
    "sparkplug-state": Place(
        address="spBv1.0/STATE/{host}",
        action="receive",
        summary="With sparkplug.primary_host_id: whether that host is there; without it verdicts wait.",
        kind=_JSON,
        docs=_SPARKPLUG,
        qos=1,
    ),
    "broker-uptime": Place(
        address="$SYS/broker/uptime",
        action="receive",
        summary="How long mosquitto has been running: after its restart, what it may have lost is sent again.",
        kind=_TEXT,
        docs=_MOSQUITTO,
        qos=0,
    ),
}
"""By the channel's name."""
