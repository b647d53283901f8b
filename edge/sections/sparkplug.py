"""The table [sparkplug]."""

from __future__ import annotations

import re
from typing import Annotated

from edge.sections.base import Section, doc

_LEVEL = re.compile(r"[^+/#\x00-\x1f\x7f]{1,100}")
"""A Sparkplug id is one level of a topic: all but + / # may be in it (tck-id-topic-structure-namespace-valid-...)."""


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
