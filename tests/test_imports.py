"""Who may import whom: three sides, one contract, and a device that stays small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parent.parent
SIDES = ("edge", "training", "deploy")
CONTRACT = {"edge.contract", "edge.errors"}
MAY_IMPORT = {
    "edge": {"edge"},
    # It evaluates what the device will run, with the device's own code, and learns from the same rendered parts.
    "training": {
        "training",
        "edge.version",
        "edge.classifier",
        "edge.config",
        "edge.decision",
        "edge.runtime",
        "edge.synthetic",
        *CONTRACT,
    },
    # It reads the file that it sends, and logs in to the broker as the device does.
    "deploy": {"deploy", "edge.version", "edge.config", "edge.broker", *CONTRACT},
}
ON_THE_DEVICE = {
    *{"numpy", "msgspec", "PIL", "paho", "cryptography"},
    *{"ai_edge_litert", "tflite_runtime", "picamera2", "libcamera", "av"},
    *{"rich", "amqtt"},
}
"""The core install; then what a device has if it needs it; then the demo's."""
LATE = ("tensorflow", "keras", "PIL", "paho", "cryptography", "picamera2", "av", "ai_edge_litert", "tflite_runtime")
"""What no start needs before its stage opens."""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the full dotted name of everything a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}:{node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def within(name: str, allowed: set[str]) -> bool:
    """Say whether a dotted name is one of those allowed, or inside one."""
    return any(name == module or name.startswith(f"{module}.") for module in allowed)


@pytest.mark.parametrize("side", SIDES)
def test_sides_meet_only_in_the_contract(side: str) -> None:
    """No file of a side imports another side's modules, but for the few that are shared."""
    wrong = [
        f"{path.relative_to(PROJECT)}:{line}: {name}"
        for path in sorted((PROJECT / side).rglob("*.py"))
        for line, name in imports(path)
        if name.split(".")[0] in SIDES and not within(name, MAY_IMPORT[side])
    ]
    assert wrong == []


def test_device_uses_only_its_own_packages() -> None:
    """Nothing under edge/ imports a package that a device does not have."""
    foreign = [
        f"{path.relative_to(PROJECT)}:{line}: {name}"
        for path in sorted((PROJECT / "edge").rglob("*.py"))
        for line, name in imports(path)
        if name.split(".")[0] not in sys.stdlib_module_names | ON_THE_DEVICE | {"edge"}
    ]
    assert foreign == []


def test_daemon_imports_stages_only_when_they_open() -> None:
    """Importing the daemon loads no TensorFlow, Pillow, paho, camera or interpreter module."""
    code = "import sys, edge.daemon; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "edge" in loaded
    assert set(LATE) & set(loaded) == set()
