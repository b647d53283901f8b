"""The style that ruff and mypy do not check: sizes, tests that say what they prove, nothing swallowed or leaked."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parent.parent
MAX_FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 10
MAX_FILE_LINES = 300
REGISTRIES = re.compile(
    r"\b(pypi|pythonhosted|npmjs|piwheels|crates)\.(org|com|io)\b|index-url|find-links", re.IGNORECASE
)
"""Hosts and an option that would tie an install to one index."""
MAY_NAME_OPTIONS = {"Makefile", "tests/test_style.py"}
"""Where that option stands to be switched off, or to be looked for."""


def tracked() -> list[Path]:
    """Return every file that git tracks and that is still there."""
    if not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files belong to the project")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout
    return [PROJECT / name for name in names.decode().split("\0") if name and (PROJECT / name).is_file()]


def sources() -> dict[Path, ast.Module]:
    """Return every tracked Python file, parsed."""
    return {path: ast.parse(path.read_text("utf-8")) for path in tracked() if path.suffix == ".py"}


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function in a file, inner ones and methods too."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines, its docstring and signature included."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def where(path: Path, node: ast.AST) -> str:
    """Name a place as an editor opens it."""
    return f"{path.relative_to(PROJECT)}:{getattr(node, 'lineno', 1)}"


def texts() -> Iterator[tuple[str, int, str]]:
    """Yield name, number and text of every line of the project's text files."""
    for path in tracked():
        try:
            content = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(content.splitlines(), 1):
            yield path.relative_to(PROJECT).as_posix(), number, line


def test_functions_are_short() -> None:
    """No function is longer than a screen, and most of the product's have fewer than ten lines."""
    sizes = {where(path, function): lines(function) for path, tree in sources().items() for function in functions(tree)}
    product = [size for name, size in sizes.items() if name.startswith(("edge/", "training/", "deploy/"))]
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES} == {}
    assert median(product) <= MEDIAN_FUNCTION_LINES


def test_files_are_short() -> None:
    """No Python file is longer than a reader keeps in mind."""
    sizes = {path.name: len(path.read_text("utf-8").splitlines()) for path in tracked() if path.suffix == ".py"}
    assert {name: size for name, size in sizes.items() if size > MAX_FILE_LINES} == {}


def test_every_test_says_what_it_proves() -> None:
    """Each test's docstring is one sentence."""
    silent = [
        where(path, function)
        for path, tree in sources().items()
        if path.name.startswith("test_")
        for function in functions(tree)
        if function.name.startswith("test_") and not (ast.get_docstring(function) or "").strip().endswith(".")
    ]
    assert silent == []


def test_no_exception_is_swallowed() -> None:
    """No handler catches everything and does nothing with it."""
    swallowed = [
        where(path, node)
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and _catches_all(node) and _does_nothing(node)
    ]
    assert swallowed == []


def _catches_all(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in {"Exception", "BaseException"}


def _does_nothing(handler: ast.ExceptHandler) -> bool:
    return all(isinstance(step, ast.Pass | ast.Continue) for step in handler.body)


def test_no_folder_of_a_developers_machine_is_named() -> None:
    """No file mentions this checkout's parent, this user's home, or anybody's home folder by name."""
    here = "|".join(re.escape(f"{folder}") for folder in (PROJECT.parent, Path.home()) if folder != folder.parent)
    machine = re.compile(rf"(?<![\w.~-])({here}|/home/(?!pi\b)[a-z]\w*|/Users/[A-Za-z]\w*)/\w")
    named = [f"{name}:{number}" for name, number, line in texts() if machine.search(line)]
    assert named == []


def test_no_package_index_is_named() -> None:
    """Installs come from whatever index the user has configured: no file ties them to one."""
    named = [f"{n}:{number}" for n, number, line in texts() if n not in MAY_NAME_OPTIONS and REGISTRIES.search(line)]
    assert named == []


def test_locks_pin_every_package_with_a_hash() -> None:
    """Every entry of the lock files names one version and at least one SHA-256, for any platform."""
    for path in sorted(PROJECT.glob("requirements-*.txt")):
        body = "\n".join(line for line in path.read_text("utf-8").splitlines() if not line.lstrip().startswith("#"))
        entries = body.replace("\\\n", " ").strip().splitlines()
        assert len(entries) > 5
        loose = [entry.split()[0] for entry in entries if not re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry)]
        assert loose == [], path.name
