"""Validates introductions as Home Assistant does when it hears them, for test_homeassistant.py.

Runs with the Python of an environment that has the package homeassistant: `make homeassistant` makes one. Reads a JSON
array of introductions; prints its version and what is wrong with each: {"version": ..., "wrong": [[...], ...]}.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from importlib import import_module
from typing import Any

from homeassistant import core
from homeassistant.components.mqtt import discovery
from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
from homeassistant.const import __version__
from homeassistant.helpers import frame


def complaints(introduction: dict[str, Any]) -> list[str]:
    """Return what Home Assistant, or the strict form of its schemas that files are read by, does not take."""
    payload = discovery.MQTTDiscoveryPayload(introduction)
    discovery._replace_all_abbreviations(payload)
    found = tried("device", DEVICE_DISCOVERY_SCHEMA, payload)
    for name, component in payload["components"].items():
        platform = component.pop("platform")
        if not component:
            continue
        module = import_module(f"homeassistant.components.mqtt.{platform}")
        discovery._merge_common_device_options(component, payload)
        found += tried(name, module.DISCOVERY_SCHEMA, component)
        found += tried(name, module.PLATFORM_SCHEMA_MODERN, component)
    return found


def tried(name: str, schema: Any, value: dict[str, Any]) -> list[str]:
    """Return what a schema says of a value: nothing if it takes it."""
    try:
        schema(value)
    except Exception as error:  # noqa: BLE001 - which library checks changes from version to version
        return [f"{name}: {error}"]
    return []


async def main(folder: str) -> None:
    """Check what is read, in the event loop that templates are only checked in."""
    hass = core.HomeAssistant(folder)
    frame.async_setup(hass)
    wrong = [complaints(introduction) for introduction in json.load(sys.stdin)]
    print(json.dumps({"version": __version__, "wrong": wrong}))
    await hass.async_stop(force=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(main(scratch))
