"""The table [runtime]."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from edge.sections.base import Section, doc

_DEVICE = re.compile(r"(usb|pci)?(:[0-9]{1,3})?")
"""What libedgetpu takes as its option `device` (edgetpu_delegate_for_custom_op_tflite_plugin.cc)."""


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
