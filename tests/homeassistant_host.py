"""Home Assistant's own core with its MQTT integration and nothing else, for test_homeassistant.py.

Runs with the Python of an environment that has the package homeassistant: `make homeassistant` makes one. Arguments: a
folder for what it remembers, and the broker's port. Prints one JSON object a line: its version, once it has started;
every new state of an entity, null where that was removed; what it complains of. Reads one a line: a service to call,
{"call": [domain, service, data]}, or a picture to look at, {"image": entity}. Ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from pathlib import Path
from typing import Any

from homeassistant import bootstrap, core, loader
from homeassistant.config_entries import ConfigEntries
from homeassistant.const import EVENT_STATE_CHANGED, __version__
from homeassistant.core_config import async_process_ha_core_config
from homeassistant.helpers import entity_registry
from homeassistant.setup import async_setup_component

ENTRY = {
    "entry_id": "broker",
    "domain": "mqtt",
    "title": "broker",
    "version": 1,
    "minor_version": 2,
    "options": {},
    "source": "user",
    "unique_id": None,
    "disabled_by": None,
    "pref_disable_new_entities": False,
    "pref_disable_polling": False,
    "discovery_keys": {},
    "subentries": [],
    "created_at": "2026-01-01T00:00:00+00:00",
    "modified_at": "2026-01-01T00:00:00+00:00",
}
"""The integration as a user sets it up in its form, as it is stored."""


def say(**what: Any) -> None:
    """Print one line, at once."""
    sys.stdout.write(json.dumps(what, default=str) + "\n")
    sys.stdout.flush()


class Complaints(logging.Handler):
    """Says what Home Assistant warns of."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a log record."""
        say(complaint=self.format(record), by=record.name)


def free_port() -> int:
    """Return a port for the web server that the integration wants beside it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_state(folder: Path, port: int) -> None:
    """Write what Home Assistant reads at its start: an empty configuration, and the broker."""
    (folder / ".storage").mkdir(exist_ok=True)
    (folder / "configuration.yaml").touch()
    entry = {**ENTRY, "data": {"broker": "127.0.0.1", "port": port}}
    stored = {"version": 1, "minor_version": 5, "key": "core.config_entries", "data": {"entries": [entry]}}
    (folder / ".storage" / "core.config_entries").write_text(json.dumps(stored))


async def start(folder: Path) -> core.HomeAssistant:
    """Return Home Assistant, started."""
    hass = core.HomeAssistant(str(folder))
    loader.async_setup(hass)
    hass.config.skip_pip = True
    hass.config_entries = ConfigEntries(hass, {})
    await loader.async_get_custom_components(hass)
    await bootstrap.async_load_base_functionality(hass)
    await async_process_ha_core_config(hass, {"time_zone": "UTC"})
    registry = entity_registry.async_get(hass)

    @core.callback
    def tell(event: core.Event) -> None:
        name, new = event.data["entity_id"], event.data["new_state"]
        entry = registry.async_get(name)
        say(
            entity=name,
            unique_id=entry and entry.unique_id,
            state=new and new.state,
            attributes=new and dict(new.attributes),
        )

    hass.bus.async_listen(EVENT_STATE_CHANGED, tell)
    web = {"http": {"server_host": "127.0.0.1", "server_port": free_port()}}
    for domain in ("homeassistant", "http", "mqtt"):
        if not await async_setup_component(hass, domain, web):
            sys.exit(f"{domain} does not start")
    await hass.async_start()
    return hass


async def obey(hass: core.HomeAssistant, wish: dict[str, Any]) -> None:
    """Call a service, or look at a picture."""
    if "call" in wish:
        domain, service, data = wish["call"]
        await hass.services.async_call(domain, service, data, blocking=True)
    else:
        picture = await hass.data["image"].get_entity(wish["image"]).async_image()
        say(image=wish["image"], jpeg=bool(picture) and picture[:2] == b"\xff\xd8")


async def main(folder: Path) -> None:
    """Run until the input ends."""
    hass = await start(folder)
    say(version=__version__)
    wishes = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(wishes), sys.stdin)
    while line := await wishes.readline():
        await obey(hass, json.loads(line))
    await hass.async_stop()


if __name__ == "__main__":
    logging.getLogger().addHandler(Complaints(logging.WARNING))
    write_state(Path(sys.argv[1]), int(sys.argv[2]))
    asyncio.run(main(Path(sys.argv[1])))
