"""What each table of the configuration file is made of, and those tables that edge/config.py has no room for."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec

_LEVEL = re.compile(r"[^+/#\x00-\x1f\x7f]{1,100}")
"""A Sparkplug id is one level of a topic: all but + / # may be in it (tck-id-topic-structure-namespace-valid-...)."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The base of every table in the file."""


def doc(text: str, **limits: Any) -> msgspec.Meta:
    """Describe a key, and limit its values."""
    return msgspec.Meta(description=text, **limits)


class Sparkplug(Section, frozen=True, kw_only=True):
    """This device as an edge node of Sparkplug B 3.0 too (pip install 'edge-inspect[sparkplug]')."""

    group_id: Annotated[str, doc("the group it belongs to; empty: no Sparkplug")] = ""
    edge_node_id: Annotated[str, doc("unique within the group; empty: device.id")] = ""
    primary_host_id: Annotated[
        str, doc("the host application without which verdicts wait in the ledger; empty: none is waited for")
    ] = ""

    def __post_init__(self) -> None:
        """Refuse ids that no topic can hold, or that would do nothing; raises ValueError."""
        for name in ("group_id", "edge_node_id", "primary_host_id"):
            value = getattr(self, name)
            if value and not _LEVEL.fullmatch(value):
                raise ValueError(f"{name} is {value[:60]!r}: expected 100 characters at most, none of them + / #")
        if not self.group_id and (self.edge_node_id or self.primary_host_id):
            raise ValueError("edge_node_id and primary_host_id do nothing without group_id")


class Guard(Section, frozen=True, kw_only=True):
    """Whether a frame is fit to be judged; one that is not is UNKNOWN, with the reason."""

    checks: Annotated[
        tuple[Literal["frozen", "light", "part", "fixture", "focus"], ...],
        doc("of frozen, light, part, fixture, focus; all but a frozen, black or white picture need a baseline"),
    ] = ("frozen", "light", "part", "fixture", "focus")
    max_shift: Annotated[
        float, doc("by how much of the frame the fixture may have moved; regions follow it", gt=0, le=0.25)
    ] = 0.02
    alarm_after: Annotated[int, doc("unfit frames in a row from which `status` asks for maintenance", ge=1)] = 20
