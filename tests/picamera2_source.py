"""picamera2's own source, read and never run: it imports only where libcamera is."""

from __future__ import annotations

import ast
import importlib.util
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from debians import cache as stored
from debians import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

Function = ast.FunctionDef


def folder(release: str) -> Path:
    """Return the package folder of a release, downloaded once, or of the `installed` one; skip where it is not."""
    if release == "installed":
        spec = importlib.util.find_spec("picamera2")
        if spec is None or spec.origin is None:
            pytest.skip("picamera2 is not installed: apt install python3-picamera2, on a Raspberry Pi")
        return Path(spec.origin).parent
    kept = stored() / f"picamera2-{release}"
    if not kept.is_dir():
        with tempfile.TemporaryDirectory(dir=stored()) as scratch:
            wheel = ("--only-binary=:all:", f"picamera2=={release}", "-d", scratch)
            fetch([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *wheel])
            (found,) = Path(scratch).glob("*.whl")
            zipfile.ZipFile(found).extractall(Path(scratch, "unpacked"))
            Path(scratch, "unpacked").rename(kept)
    return kept / "picamera2"


@cache
def trees(package: Path) -> dict[str, ast.Module]:
    """Return every file of a package, parsed, by its path in it."""
    return {path.relative_to(package).as_posix(): ast.parse(path.read_text("utf-8")) for path in package.rglob("*.py")}


def classes(*found: ast.AST) -> dict[str, ast.ClassDef]:
    """Return every class in these trees by its name, inner ones too."""
    return {node.name: node for tree in found for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def methods(owner: ast.ClassDef) -> dict[str, Function]:
    """Return a class's functions, but for properties; of overloads the last, which is the implementation."""
    return {node.name: node for node in owner.body if isinstance(node, Function) and not _is_property(node)}


def attributes(owner: ast.ClassDef) -> set[str]:
    """Return the names that a class and its instances have, besides methods."""
    own = {name for node in owner.body for name in _targets(node)}
    own |= {node.name for node in owner.body if isinstance(node, Function) and _is_property(node)}
    inner = (node for function in methods(owner).values() for node in ast.walk(function))
    return own | {name.removeprefix("self.") for node in inner for name in _targets(node) if name.startswith("self.")}


def differences(ours: Function, real: Function) -> Iterator[str]:
    """Yield why a call that suits one function may not suit the real one."""
    mine, theirs = _parameters(ours), _parameters(real)
    places = [name for name in mine if name in {each.arg for each in ours.args.args}]
    if places != list(theirs)[: len(places)]:
        yield f"{ours.name}: ({', '.join(places)}) are not its first parameters"
    for name, default in mine.items():
        if name not in theirs:
            yield f"{ours.name}: it has no {name}"
        elif default is not None and not _is_same(default, theirs[name]):
            yield f"{ours.name}: another default of {name}"
    for name in [name for name, default in theirs.items() if default is None and name not in mine]:
        yield f"{ours.name}: it needs {name}"


def invented(ours: ast.ClassDef, real: ast.ClassDef) -> Iterator[str]:
    """Yield what a class has that the real one has not, or has otherwise; what begins with _ is its own affair."""
    for name, function in methods(ours).items():
        if name.startswith("_") and name != "__init__":
            continue
        if name not in methods(real):
            yield f"{ours.name}.{name}: there is none"
        else:
            yield from differences(function, methods(real)[name])
    for name in attributes(ours) - attributes(real):
        if not name.startswith("_"):
            yield f"{ours.name}.{name}: there is none"


def chains(*found: ast.AST) -> set[str]:
    """Return every dotted name that is used in these trees."""
    return {ast.unparse(node) for tree in found for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def imported(tree: ast.Module) -> set[str]:
    """Return the names that a file imports, as it has them."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {alias.asname or alias.name for node in nodes for alias in node.names}


def _is_property(function: Function) -> bool:
    return any("property" in ast.unparse(each) or "setter" in ast.unparse(each) for each in function.decorator_list)


def _targets(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Assign):
        several = (getattr(target, "elts", [target]) for target in node.targets)
        return [ast.unparse(target) for targets in several for target in targets]
    return [ast.unparse(node.target)] if isinstance(node, ast.AnnAssign) else []


def _parameters(function: Function) -> dict[str, ast.expr | None]:
    """Return a function's parameters but self, with their defaults; None: it must be given."""
    plain = function.args.posonlyargs + function.args.args
    missing: list[ast.expr | None] = [None] * (len(plain) - len(function.args.defaults))
    found = dict(zip([each.arg for each in plain], missing + function.args.defaults, strict=True))
    found |= dict(zip([each.arg for each in function.args.kwonlyargs], function.args.kw_defaults, strict=True))
    return {name: default for name, default in found.items() if name != "self"}


def _is_same(ours: ast.expr, real: ast.expr | None) -> bool:
    """Say whether defaults are equal; of ours `...` says only that there is one."""
    if real is None or ast.dump(ours) == ast.dump(real):
        return real is not None
    return isinstance(ours, ast.Constant) and ours.value is ...
