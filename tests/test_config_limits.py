"""What a configuration says of a value beyond a limit: the limit, or an outsider would look for another mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.config import parse
from edge.errors import ConfigError

LEAST = {"bundle": "b", "camera": {"kind": "synthetic"}}
GPIO = {"kind": "gpio", "pin": "17"}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"trigger": {"kind": "motion", "area": 1}}, "trigger.area is 1: expected a number above 0 and below 1"),
        (
            {"trigger": {"kind": "motion", "level": 300}},
            "trigger.level is 300: expected a whole number at least 1 and at most 254",
        ),
        ({"trigger": GPIO | {"pin": "GPIO 17"}}, "trigger.pin is 'GPIO 17': expected a pin's name, such as GPIO17"),
        (
            {"outputs": [{"pin": "17", "verdicts": ["pass"]}]},
            "outputs[0].verdicts[0] is 'pass': expected one of 'PASS', 'DEFECT', 'UNKNOWN'",
        ),
        (
            {"outputs": [{"pin": "17", "verdicts": []}]},
            (
                "outputs[0].verdicts is []: expected an array that is not empty, "
                "each item one of 'PASS', 'DEFECT', 'UNKNOWN'"
            ),
        ),
        (
            {"mqtt": {"host": "h" * 300}},
            f"mqtt.host is '{'h' * 79}...: expected a text that is not empty, of 253 characters at most",
        ),
        ({"device": {"id": "d" * 300}}, f"device.id is '{'d' * 80}': expected letters, digits, _ and -, 64 at most"),
    ],
)
def test_the_limit_that_is_exceeded_is_named(sections: dict[str, Any], message: str) -> None:
    """In one short line, however long the value is."""
    with pytest.raises(ConfigError) as caught:
        parse(LEAST | sections, Path("device.toml"))
    assert str(caught.value) == f"device.toml: {message}"
