"""Who may import whom: three sides, one contract, and a device that stays small."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parent.parent
SIDES = ("edge", "training", "deploy")
CONTRACT = {"edge.command", "edge.early", "edge.contract", "edge.errors"}
MAY_IMPORT = {
    "edge": {"edge"},
    # It evaluates what the device will run, with the device's own code, and learns from the same rendered parts.
    "training": {
        "training",
        "edge.classifier",
        "edge.config",
        "edge.config_errors",
        "edge.decision",
        "edge.runtime",
        "edge.sections",
        "edge.synthetic",
        *CONTRACT,
    },
    # It reads the file that it sends, and logs in to the broker as the device does.
    "deploy": {"deploy", "edge.config", "edge.sections", "edge.mqtt.broker", *CONTRACT},
}
ON_THE_DEVICE = {
    *{"numpy", "msgspec", "PIL", "paho", "cryptography"},
    *{"ai_edge_litert", "tflite_runtime", "picamera2", "libcamera", "gpiozero", "av", "linuxpy"},
    *{"google"},
    *{"rich", "amqtt"},
    *{"pyarrow"},
}
"""The core install; then what a device has if it needs it; protobuf, for Sparkplug; the demo's; a workstation's, for
a device's ledger."""
LATE = (
    *(
        "tensorflow",
        "keras",
        "PIL",
        "paho",
        "cryptography",
        "picamera2",
        "gpiozero",
        "av",
        "linuxpy",
        "ai_edge_litert",
        "tflite_runtime",
    ),
    *("google", "pyarrow"),
)
"""What no start needs before its stage opens."""
DEEPEST = 6


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
    """No file of a side imports another side's modules, but for the few that are shared and `edge` for its version."""
    wrong = [
        f"{path.relative_to(PROJECT)}:{line}: {name}"
        for path in sorted((PROJECT / side).rglob("*.py"))
        for line, name in imports(path)
        if name.split(".")[0] in SIDES and name != "edge" and not within(name, MAY_IMPORT[side])
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


@pytest.mark.parametrize(
    "modules",
    [
        "edge.daemon",
        "edge.config, edge.runtime, edge.classifier, edge.decision",
        "edge.camera.picamera, edge.camera.video, edge.camera.v4l2",
        "edge.accelerator.accelerated, edge.accelerator.worker, edge.heat",
        "edge.contract.bundle, edge.contract.messages, edge.contract.pictures, edge.contract.signing",
    ],
)
def test_stages_are_imported_only_when_they_open(modules: str) -> None:
    """Importing the daemon, its stages or the contract loads no TensorFlow, Pillow, paho, camera or interpreter."""
    code = f"import sys, {modules}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "edge" in loaded
    assert set(LATE) & set(loaded) == set()


@cache
def files() -> dict[str, Path]:
    """Return every file of the three sides by its module's name."""
    paths = [path for side in SIDES for path in (PROJECT / side).rglob("*.py")]
    return {".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a file that run when it is imported: no function's, no type checker's, no program's."""
    for child in ast.iter_child_nodes(node):
        skipped = isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "__name__ == '__main__'"}
        if not skipped and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from at_import(child)


@cache
def needs(module: str) -> frozenset[str]:
    """Return the project's modules that must be imported before a module."""
    found: set[str] = set()
    for node in at_import(ast.parse(files()[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # `from package import name` needs the package too, unless the name is one of its modules.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in files() else f"{node.module}" for name in names}
    return frozenset(found & set(files()))


def chain(module: str, above: tuple[str, ...] = ()) -> list[str]:
    """Return the longest chain of imports below a module; fail if one comes back to where it began."""
    assert module not in above, f"import cycle: {' > '.join([*above, module])}"
    below = (chain(name, (*above, module)) for name in sorted(needs(module)))
    return [module, *max(below, key=len, default=[])]


def test_imports_have_no_cycle_and_are_not_deep() -> None:
    """No module needs itself, and following imports from any module is at an end after six steps."""
    deep = [" > ".join(found) for found in map(chain, sorted(files())) if len(found) - 1 > DEEPEST]
    assert deep == []
