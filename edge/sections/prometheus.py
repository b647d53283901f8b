"""The table [prometheus]."""

from __future__ import annotations

from typing import Annotated

from edge.sections.base import Section, doc


class Prometheus(Section, frozen=True, kw_only=True):
    """Whether Prometheus, or its agent on this device, may fetch what `health` says."""

    port: Annotated[
        int, doc("http://127.0.0.1:<port>/metrics, for programs of this device only; 0: none", ge=0, le=65535)
    ] = 0
