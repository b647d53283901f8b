"""The table [runtime]."""

from __future__ import annotations

from typing import Annotated, Literal

from edge.sections.base import Section, doc


class Runtime(Section, frozen=True, kw_only=True):
    """The TFLite interpreter."""

    engine: Annotated[Literal["auto", "litert", "tflite-runtime"], doc("auto: LiteRT where it is installed")] = "auto"
    threads: Annotated[int, doc("more than 1 helps only on idle cores", ge=1, le=64)] = 1
