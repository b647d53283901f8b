"""What the documents say is what the code does."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from configuration_page import PAGE, page

from edge import config
from edge.command import EXIT_CODES, INTERRUPTED, OUTPUT_CLOSED, RESTART
from edge.contract import messages
from edge.errors import ConfigError, InspectError
from training import recipe

PROJECT = Path(__file__).resolve().parent.parent
README = PROJECT / "README.md"
DOCUMENTS = sorted(PROJECT.glob("*.md"))
PROGRAMS = ("edge-inspect", "edge-train", "edge-deploy")


def read(path: Path) -> str:
    """Return a document's text."""
    return path.read_text("utf-8")


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", read(path), re.MULTILINE | re.DOTALL)


def test_configuration_page_is_up_to_date() -> None:
    """CONFIGURATION.md says what edge/config.py says; after a change: make docs."""
    assert read(PAGE) == page()


def test_schema_files_are_up_to_date() -> None:
    """The committed JSON Schemas are those of the message classes; after a change: make schemas."""
    for name, schema in messages.schemas().items():
        assert (messages.SCHEMA_FOLDER / f"{name}.json").is_file()
        assert json.loads((messages.SCHEMA_FOLDER / f"{name}.json").read_bytes()) == schema


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_example_configurations_are_valid(path: Path) -> None:
    """Every TOML example in the documents is a recipe, or a configuration that a device would accept."""
    problems = []
    for text in blocks(path, "toml"):
        table = tomllib.loads(text)
        try:
            recipe.parse(table, str(path)) if "model" in table else config.parse(table, path)
        except ConfigError as error:
            problems.append(str(error))
    assert problems == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link and picture in the documents is a file of the project."""
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", read(path)) + re.findall(r'src="([^"]+)"', read(path))
    missing = [name for name in targets if "://" not in name and not (PROJECT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_exist(path: Path) -> None:
    """Every `make` command in the documents is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", read(PROJECT / "Makefile"), re.MULTILINE))
    asked = set(re.findall(r"(?:`|^\s*)make ([a-z-]+)", read(path), re.MULTILINE))
    assert asked <= targets


def test_make_tools_installs_what_tests_ask_for() -> None:
    """Each package that a skipped test names, `make tools` would have installed."""
    named = r"""(?:need\([^"]*"[^"]*", |apt-get install |\("(?:mosquitto_sub|jq|bash)", )"?([a-z0-9-]+)"""
    wanted = {name for path in (PROJECT / "tests").glob("*.py") for name in re.findall(named, read(path))}
    assert {"mosquitto-clients", "postgresql", "npm"} <= wanted
    (line,) = re.findall(r"^TOOLS = (.*\\\n.*)$", read(PROJECT / "Makefile"), re.MULTILINE)
    assert wanted <= set(re.findall(r"[a-z0-9-]+", line))


def test_every_exit_code_is_documented() -> None:
    """README and --help list exactly the exit codes that errors end with."""
    codes = {kind.exit_code for kind in InspectError.__subclasses__()} | {0, 1, 2, RESTART, INTERRUPTED, OUTPUT_CLOSED}
    in_readme = {int(code) for code in re.findall(r"^\| (\d+) \|", read(README), re.MULTILINE)}
    assert in_readme == codes
    assert {int(code) for code in re.findall(r"(?<!\S)(\d+)  ", EXIT_CODES)} == codes


def test_every_topic_is_documented() -> None:
    """README's table of topics lists exactly the messages that exist, and which are retained."""
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| ([01](?:, retained)?) \|", read(README), re.MULTILINE))
    assert set(rows) == {*messages.MESSAGES, "image", messages.LAST_DEFECT, "reply"}
    assert {name for name, quality in rows.items() if "retained" in quality} == messages.RETAINED


def test_every_device_dependency_is_justified() -> None:
    """README's table of dependencies lists exactly what pyproject.toml installs on a device."""
    project = tomllib.loads(read(PROJECT / "pyproject.toml"))["project"]
    named = {re.split(r"[<>=;\[ ]", entry, maxsplit=1)[0] for entry in project["dependencies"]}
    assert set(re.findall(r"^\| \[?`([a-z0-9-]+)`\]?[^|]*\| [\d.]+ \| [\d.]+ \|", read(README), re.MULTILINE)) == named


def test_every_workstation_dependency_is_justified() -> None:
    """README's second table lists exactly what training and retraining install, at the versions that CI locks."""
    project = tomllib.loads(read(PROJECT / "pyproject.toml"))["project"]
    locked = dict(re.findall(r"^([a-z0-9-]+)==([\w.]+)", read(PROJECT / "requirements-ci.txt"), re.MULTILINE))
    wanted = {
        (name, locked[name.replace("_", "-")], extra)
        for extra in ("training", "qat")
        for name in (re.split(r"[<>=; ]", entry, maxsplit=1)[0] for entry in project["optional-dependencies"][extra])
    }
    assert set(re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \| `(\w+)` \|", read(README), re.MULTILINE)) == wanted


def test_options_in_the_readme_exist() -> None:
    """Every option of edge-train in the README's chapter on training is one that a command has."""
    chapter = read(README).partition("## Train on your own pictures")[2].partition("\n## ")[0]
    commands = [PROJECT / "training" / name for name in ("build_command.py", "inputs.py", "search_command.py")]
    commands += [*(PROJECT / "training" / "data").glob("*.py"), PROJECT / "training" / "compile_command.py"]
    commands += [PROJECT / "training" / "synthetic.py", PROJECT / "training" / "evaluation" / "options.py"]
    known = {name for path in commands for name in re.findall(r'"(--[a-z-]+)"', read(path))} | {"--bundle"}
    assert set(re.findall(r"--[a-z][a-z-]+", chapter)) - known == set()


def test_commands_in_the_readme_exist() -> None:
    """Every console command that the README names is one that the package installs."""
    scripts = tomllib.loads(read(PROJECT / "pyproject.toml"))["project"]["scripts"]
    assert set(scripts) == set(PROGRAMS)
    assert set(re.findall(r"\bedge-(?:inspect|train|deploy)\b", read(README))) == set(PROGRAMS)


def test_changelog_has_an_unreleased_part() -> None:
    """Changes since the last release stand under their own heading."""
    assert "## [Unreleased]" in read(PROJECT / "CHANGELOG.md")
