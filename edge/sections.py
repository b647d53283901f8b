"""What each table of the configuration file is made of, and those tables that edge/config.py has no room for."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec

_LEVEL = re.compile(r"[^+/#\x00-\x1f\x7f]{1,100}")
"""A Sparkplug id is one level of a topic: all but + / # may be in it (tck-id-topic-structure-namespace-valid-...)."""

_DEVICE = re.compile(r"(usb|pci)?(:[0-9]{1,3})?")
"""What libedgetpu takes as its option `device` (edgetpu_delegate_for_custom_op_tflite_plugin.cc)."""


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


class Runtime(Section, frozen=True, kw_only=True):
    """The TFLite interpreter, and the Edge TPU where there is one: the CPU judges whenever it does not answer."""

    engine: Annotated[Literal["auto", "litert", "tflite-runtime"], doc("auto: LiteRT where it is installed")] = "auto"
    threads: Annotated[int, doc("more than 1 helps only on idle cores", ge=1, le=64)] = 1
    accelerator: Annotated[
        Literal["none", "edgetpu"], doc("edgetpu: runs the bundle's model_edgetpu.tflite (edge-train compile)")
    ] = "none"
    library: Annotated[
        str, doc("the Edge TPU's library: a name that the system finds, or an absolute path", min_length=1)
    ] = "libedgetpu.so.1"
    device: Annotated[str, doc("which Edge TPU: usb, pci, or the first of these as usb:0; empty: any")] = ""
    invoke_deadline_ms: Annotated[
        int,
        doc("milliseconds for all tiles of a frame, the CPU's help included; slower counts as hung", ge=10, le=20_000),
    ] = 1000

    def __post_init__(self) -> None:
        """Refuse a library that would be looked for in the working folder, and unknown devices; raises ValueError."""
        if "\0" in self.library or ("/" in self.library and not self.library.startswith("/")):
            raise ValueError(f"library {self.library[:200]!r} is neither a file's name nor an absolute path")
        if not _DEVICE.fullmatch(self.device):
            raise ValueError(f"device is {self.device[:60]!r}: expected usb, pci, usb:0, pci:0, :0 or nothing")
