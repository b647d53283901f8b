"""Home Assistant for tests: the real one where its package is, and the rules of its documentation elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from conftest import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
MISSING = "Home Assistant is not installed: make homeassistant, or name its Python in INSPECT_HOMEASSISTANT"
_MODES = {"auto", "box", "slider"}
_UNITS = {"duration": {"d", "h", "min", "s", "ms"}, "data_size": {"B", "kB", "MB", "MiB", "GiB"}, "enum": {None}}
_COMMON = {"p", "name", "uniq_id", "qos", "ent_cat", "dev_cla", "json_attr_t", "json_attr_tpl"}
_PLATFORMS = {
    "event": ({"stat_t", "evt_typ"}, {"val_tpl"}),
    "binary_sensor": ({"stat_t"}, {"val_tpl"}),
    "image": ({"img_t"}, {"cont_type"}),
    "update": (set(), {"stat_t", "val_tpl"}),
    "sensor": ({"stat_t"}, {"val_tpl", "stat_cla", "unit_of_meas", "sug_dsp_prc", "ops"}),
    "switch": ({"cmd_t"}, {"cmd_tpl", "stat_t", "val_tpl"}),
    "number": ({"cmd_t"}, {"cmd_tpl", "stat_t", "val_tpl", "min", "max", "step", "mode"}),
    "button": ({"cmd_t"}, {"cmd_tpl"}),
}
"""Keys that a platform needs, and others that it knows: https://www.home-assistant.io/integrations/ PLATFORM.mqtt."""


def python() -> str | None:
    """Return the Python of an environment with Home Assistant, if there is one."""
    named = os.environ.get("INSPECT_HOMEASSISTANT")
    made = PROJECT / ".venv-homeassistant" / "bin" / "python"
    return named or (str(made) if made.exists() else None)


def check(introductions: list[dict[str, Any]]) -> dict[str, list[list[str]]]:
    """Return what is wrong with each introduction, by who says so: Home Assistant only where it is."""
    found = {"a transcription of its documented rules": [_against_rules(each) for each in introductions]}
    if (program := python()) is None:
        return found
    done = subprocess.run(
        [program, HERE / "homeassistant_schema.py"],
        input=json.dumps(introductions),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return {**found, f"the schemas of Home Assistant {answer['version']}": answer["wrong"]}


def _against_rules(introduction: dict[str, Any]) -> list[str]:
    wrong = [f"device: {key}?" for key in {"dev", "o", "cmps"} - set(introduction)]
    wrong += [f"device: {key}?" for key in set(introduction) - {"dev", "o", "cmps", "avty_t", "avty_tpl"}]
    wrong += [] if introduction["dev"].get("ids") else ["device: no ids"]
    wrong += [] if introduction["o"].get("name") else ["device: no name of its origin"]
    for name, entity in introduction["cmps"].items():
        wrong += [f"{name}: {complaint}" for complaint in _entity(entity)]
    return wrong


def _entity(entity: dict[str, Any]) -> list[str]:
    if entity.get("p") not in _PLATFORMS:
        return [f"no platform {entity.get('p')!r}"]
    if len(entity) == 1:
        return []
    needed, known = _PLATFORMS[entity["p"]]
    wrong = [f"{key} is missing" for key in needed | {"uniq_id"} if key not in entity]
    wrong += [f"{key} is not known" for key in set(entity) - _COMMON - needed - known]
    wrong += [f"{key} has a wildcard" for key in ("cmd_t",) if set("+#") & set(entity.get(key, ""))]
    fits = {
        "ent_cat": entity.get("ent_cat", "config") in {"config", "diagnostic"},
        "stat_cla": entity.get("stat_cla", "measurement") in {"measurement", "total", "total_increasing"},
        "unit_of_meas": entity.get("dev_cla") not in _UNITS or entity.get("unit_of_meas") in _UNITS[entity["dev_cla"]],
        "ops": "ops" not in entity or (entity.get("dev_cla") == "enum" and "stat_cla" not in entity),
        "max": entity.get("min", 1) <= entity.get("max", 100),
        "step": entity.get("step", 1) >= 1e-3,
        "mode": entity.get("mode", "auto") in _MODES,
        "qos": entity.get("qos", 0) in {0, 1, 2},
    }
    return wrong + [f"{key} does not fit" for key, right in fits.items() if not right]


class HomeAssistant:
    """The real one at a broker, with entities by the last part of their unique ids."""

    def __init__(self, folder: Path, port: int) -> None:
        """Start it and wait until it has."""
        program = python()
        if program is None:
            pytest.skip(MISSING)
        folder.mkdir(exist_ok=True)
        self.version = ""
        self.complaints: list[str] = []
        self.entities: dict[str, str] = {}
        self.states: list[tuple[str, str | None, dict[str, Any]]] = []
        """Entity, state (None: it is gone) and attributes, in the order in which they changed."""
        self.jpegs: list[bool] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [program, HERE / "homeassistant_host.py", folder, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._listening.join(10)  # What it started may have its output still.
            self._process.stdout.close()

    def last(self, entity: str) -> tuple[str | None, dict[str, Any]]:
        """Return the newest state and attributes of an entity."""
        found = [(state, attributes) for name, state, attributes in self.states if name == entity]
        return found[-1] if found else (None, {})

    def wait(self, condition: Callable[[HomeAssistant], bool], seconds: float = 60) -> None:
        """Wait until a condition is met."""
        with self._changed:
            met = self._changed.wait_for(lambda: condition(self) or self._process.poll() is not None, seconds)
        assert met, (self.complaints, self.states[-20:])
        assert condition(self), (self.complaints, self.states[-20:])

    def wait_for(self, **states: str | None) -> None:
        """Wait until entities have these states."""
        self.wait(lambda home: all(home.last(name)[0] == state for name, state in states.items()))

    def call(self, domain: str, service: str, entity: str, **data: Any) -> None:
        """Call a service of an entity."""
        self._say({"call": [domain, service, {"entity_id": self.entities[entity], **data}]})

    def look_at(self, entity: str) -> None:
        """Ask whether its picture is a JPEG, for `jpegs`."""
        self._say({"image": self.entities[entity]})

    def _say(self, wish: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._take(json.loads(line))
                self._changed.notify_all()

    def _take(self, said: dict[str, Any]) -> None:
        if "version" in said:
            self.version = said["version"]
        elif "complaint" in said:
            self.complaints.append(f"{said['by']}: {said['complaint']}")
        elif "image" in said:
            self.jpegs.append(said["jpeg"])
        else:
            if said["unique_id"]:
                self.entities[said["unique_id"].rpartition("/")[2]] = said["entity"]
            names = {entity: name for name, entity in self.entities.items()}
            self.states.append((names.get(said["entity"], ""), said["state"], said["attributes"] or {}))
