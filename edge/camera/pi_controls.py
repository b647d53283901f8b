"""What a configuration fixes of a Raspberry Pi camera, and whether the camera did it. Pure.

Names, units and ranges are libcamera's (its control ids); each value of the configuration stands for one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.record import Record
from edge.sections.cameras import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.sections.cameras import PicameraConfig

SINGLE_EXPOSURE = 3
"""libcamera's HdrModeSingleExposure."""
MANUAL_FOCUS = 0
"""libcamera's AfModeManual."""
SHARE = 0.05
"""By which a value may differ: a sensor has whole lines of light, and few steps where its gain is high."""
DIGITS = 3
"""Behind the point, of limits and values, as people are told of them: what they are told is taken."""
EXPOSURE_STEP, FOCUS_STEP = 40.0, 0.05
"""By which a small value may differ: microseconds, about a line's time; dioptres, less than modules of a kind do."""


class Lock(Record, frozen=True):
    """One value of the configuration that the camera is to keep to."""

    key: str
    """As the configuration names it."""
    control: str
    """As libcamera names it, when it is set and in what it tells of each frame."""
    value: object
    """As the configuration has it."""
    wanted: tuple[float, ...]
    """As libcamera has it."""
    step: float = 0.0
    """By which it may differ, where SHARE of it is less."""

    @property
    def text(self) -> str:
        """Name it with its value, as in the configuration."""
        value = f'"{self.value}"' if isinstance(self.value, str) else _shown(self.wanted)
        return f"camera.{self.key} {value}"


def locks(config: PicameraConfig) -> list[Lock]:
    """Return what a configuration fixes."""
    isp = "isp" if config.hdr == "isp" else None
    found = [
        ("exposure_us", "ExposureTime", config.exposure_us, EXPOSURE_STEP),
        ("gain", "AnalogueGain", config.gain, 0.0),
        ("white_balance", "ColourGains", config.white_balance, 0.0),
        ("focus", "LensPosition", config.focus, FOCUS_STEP),
        ("hdr", "HdrMode", isp, 0.0),
    ]
    return [
        Lock(key, control, value, _numbers(value), step) for key, control, value, step in found if value is not None
    ]


def to_set(fixed: list[Lock]) -> dict[str, Any]:
    """Return the controls that fix them.

    A fixed exposure, gain or white balance switches its automatic off by itself. To switch that off in so many words
    at the start (AeEnable, AwbEnable) can keep what it had before instead: libcamera leaves their order open.
    """
    controls: dict[str, Any] = {lock.control: lock.wanted if len(lock.wanted) > 1 else lock.wanted[0] for lock in fixed}
    return controls | ({"AfMode": MANUAL_FOCUS} if "LensPosition" in controls else {})


def rate_refusal(rate: float, offered: Mapping[str, tuple[Any, Any, Any]]) -> str:
    """Say why a camera cannot give so many frames per second, by its controls; empty: it can, nearly."""
    shortest, longest, _ = offered["FrameDurationLimits"]
    taken, words = MICROSECONDS / rate, ""
    if taken < shortest * (1 - SHARE):
        words = f"at most {MICROSECONDS / shortest:.4g}"
    elif taken > longest * (1 + SHARE):
        words = f"at least {MICROSECONDS / longest:.4g}"
    return words and f"camera.rate {rate:g}: this camera gives {words} frames per second at this size"


def refusals(fixed: list[Lock], offered: Mapping[str, tuple[Any, Any, Any]]) -> Iterator[str]:
    """Yield why a camera cannot do it, by its controls' (least, most, default): each names value and limits."""
    for lock in fixed:
        if lock.control not in offered:
            why = "its lens does not move" if lock.key == "focus" else f"it has no {lock.control}"
            yield f"{lock.text}: this camera cannot, {why}; leave camera.{lock.key} out"
            continue
        least, most = (_each(limit, lock) for limit in offered[lock.control][:2])
        rounded = ((round(low, DIGITS), round(high, DIGITS)) for low, high in zip(least, most, strict=True))
        if not all(low <= value <= high for value, (low, high) in zip(lock.wanted, rounded, strict=True)):
            yield f"{lock.text}: this camera takes {_shown(least[:1])} to {_shown(most[:1])}"


def departures(fixed: list[Lock], told: Mapping[str, Any]) -> Iterator[str]:
    """Yield how a frame was taken otherwise, by what the camera tells of it."""
    for lock in fixed:
        if (found := told.get(lock.control)) is None:
            yield f"{lock.text}: nothing says that the picture was taken so"
            continue
        values = tuple(found) if isinstance(found, tuple | list) else (found,)
        if len(values) != len(lock.wanted) or not all(map(_is_near, values, lock.wanted, [lock.step] * len(values))):
            yield f"{lock.text}: the picture was taken with {_shown(values)}"


def _numbers(value: float | str | tuple[float, ...]) -> tuple[float, ...]:
    if isinstance(value, str):
        return (SINGLE_EXPOSURE,)
    return value if isinstance(value, tuple) else (value,)


def _each(limit: Any, lock: Lock) -> tuple[Any, ...]:
    """Return a limit for each of a lock's values: libcamera's may be one for all of them."""
    return tuple(limit) if isinstance(limit, tuple | list) else (limit,) * len(lock.wanted)


def _is_near(value: object, wanted: float, step: float) -> bool:
    return isinstance(value, int | float) and abs(value - wanted) <= max(step, SHARE * wanted)


def _shown(values: tuple[Any, ...]) -> str:
    words = [f"{round(value, DIGITS):.10g}" if isinstance(value, int | float) else repr(value) for value in values]
    return words[0] if len(words) == 1 else f"[{', '.join(words)}]"
