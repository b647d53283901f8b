"""The table [trigger]: one of these kinds."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Literal, TypeAlias

from edge.sections.base import Section, doc


class _Trigger(Section, frozen=True, kw_only=True, tag_field="kind"):
    pass


class FreeConfig(_Trigger, frozen=True, kw_only=True, tag="free"):
    """Each frame that the camera gives is judged, or as many as there is time for."""

    rate: Annotated[float, doc("frames judged per second, at most; 0: all that there is time for", ge=0, le=1000)] = 0.0


class MotionConfig(_Trigger, frozen=True, kw_only=True, tag="motion"):
    """A part that came is judged once it lies still."""

    settle_s: Annotated[float, doc("so long nothing may move before the part is judged", gt=0, le=10)] = 0.3
    deadline_s: Annotated[
        float,
        doc("from the motion's beginning to the verdict; where it cannot be kept it is UNKNOWN", gt=0, le=60),
    ] = 5.0
    level: Annotated[
        int, doc("grey levels by which a place must change to count, of 255; above the noise", ge=1, le=254)
    ] = 12
    area: Annotated[float, doc("share of the frame that must change within settle_s for motion", gt=0, lt=1)] = 0.01

    def __post_init__(self) -> None:
        """Refuse a rest that is longer than there is time for; raises ValueError."""
        if self.settle_s >= self.deadline_s:
            raise ValueError(f"settle_s {self.settle_s:g} leaves no time before deadline_s {self.deadline_s:g}")


class _External(_Trigger, frozen=True, kw_only=True):
    delay_ms: Annotated[
        float, doc("from the trigger to the exposure, for a part that travels on to the camera", ge=0, le=60_000)
    ] = 0.0
    deadline_s: Annotated[
        float,
        doc(
            "from the trigger to the verdict, UNKNOWN where it cannot be kept; at most as long as the part stays: "
            "where frames are missing, the first that comes until then is its picture",
            gt=0,
            le=60,
        ),
    ] = 2.0

    def __post_init__(self) -> None:
        """Refuse a delay that leaves no time for the verdict; raises ValueError."""
        if self.delay_ms / 1e3 >= self.deadline_s:
            raise ValueError(f"delay_ms {self.delay_ms:g} leaves no time before deadline_s {self.deadline_s:g}")


class GpioConfig(_External, frozen=True, kw_only=True, tag="gpio"):
    """A light barrier or a controller's output on a pin (apt install python3-gpiozero)."""

    pin: Annotated[str, doc("as gpiozero names it: 17, GPIO17 or BOARD11", pattern=r"^[A-Za-z0-9:]{1,20}\Z")]
    edge: Annotated[Literal["rising", "falling"], doc("which change of the pin's level is a part")] = "rising"
    pull: Annotated[Literal["up", "down", "none"], doc("the resistor that holds the pin while nothing drives it")] = (
        "down"
    )
    debounce_ms: Annotated[float, doc("a change that follows another so soon is the same part", ge=0, le=10_000)] = 5.0
    strobe_pin: Annotated[
        str, doc("a light to be switched on for the exposure; empty: none", pattern=r"^[A-Za-z0-9:]{0,20}\Z")
    ] = ""
    strobe_ms: Annotated[
        float,
        doc(
            "how long it stays on: two frames' time of the camera at least, for a frame begins up to one frame's time "
            "after the trigger, and may take as long",
            gt=0,
            le=10_000,
        ),
    ] = 200.0

    def suit(self, rate: float) -> None:
        """Refuse a flash that a camera of so many frames per second may expose none in; raises ValueError."""
        least = ceil(2e3 / rate)
        if self.strobe_pin and self.strobe_ms < least:
            problem = f"trigger.strobe_ms {self.strobe_ms:g}: the light may be out before a frame is taken"
            raise ValueError(f"{problem}; at camera.rate {rate:g} two frames take {least} ms")


class CommandConfig(_External, frozen=True, kw_only=True, tag="mqtt"):
    """The command `trigger` over MQTT, which [commands] has to allow; it is answered with the verdict."""


TriggerConfig: TypeAlias = FreeConfig | MotionConfig | GpioConfig | CommandConfig
