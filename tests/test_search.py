from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import tomllib
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tiny_parts import RECIPE, draw, make_folder, run

from edge.contract import bundle as bundles
from edge.errors import ConfigError, DataError, InspectError
from training import backend, inputs, recipe, search, sqlite
from training.search import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from training.recipe import Recipe
    from training.search import Found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("search") / "data", each=12)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.toml"
    path.write_text(RECIPE.replace("[10, 40]", "[2, 4]"))  # How well it learns is not the point.
    return path


def listed(folder: Path) -> inputs.Inputs:
    from training.data import dataset

    labels = dataset.folder_labels(folder, ["intact"])
    return inputs.Inputs(labels=labels, folder=folder, sources=dataset.folder_sources(folder, labels))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that are computed in no time, and a cache without earlier searches."""
    monkeypatch.setattr(search, "SIZES", (32, 64))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    backend.start(1)


@pytest.mark.usefixtures("small")
def test_a_search_goes_on_with_recipes_not_tried_before(data: Path, base: Path, tiny_weights: Path) -> None:
    """Called again it knows what it tried, tries others, and keeps the best first; a tighter budget leaves some out."""

    def find(trials: int, milliseconds: float = 1e6) -> list[Found]:
        limits = Limits(seconds=600, milliseconds=milliseconds, trials=trials)
        return search.search(listed(data), recipe.read(base), weights=str(tiny_weights), limits=limits, seed=3)

    first = find(2)
    assert len(first) == 2
    again = find(1)
    assert len(again) == 3
    recipes = [found.recipe for found in again]
    assert all(found.recipe in recipes for found in first)
    assert all(recipes.count(each) == 1 for each in recipes)
    values = [search._value(found.balanced_accuracy, found.loss) for found in again]
    assert values == sorted(values, reverse=True)
    assert {found.recipe.model.alpha for found in again} == {0.25}
    fastest = min(again, key=lambda found: found.milliseconds)
    assert [found.recipe for found in find(1, fastest.milliseconds) if found.milliseconds > fastest.milliseconds] == []
    with pytest.raises(ConfigError, match=r"--latency-budget 1e-06 ms: none of 5 recipes was fast enough; allow more"):
        find(1, 1e-6)


@pytest.mark.usefixtures("small")
def test_a_recipe_that_diverges_is_one_that_was_tried(
    data: Path, base: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its decay makes the weights larger at every step: the search goes on, and names it if nothing else is left."""
    chosen = replace(recipe.read(base), loss=recipe.Loss(weight_decay=1000))
    chosen = replace(chosen, head=replace(chosen.head, epochs=(300, 300), patience=1))

    def find(trials: int) -> list[Found]:
        limits = Limits(seconds=600, milliseconds=1e6, trials=trials)
        return search.search(listed(data), chosen, weights=str(tiny_weights), limits=limits, seed=3)

    with pytest.raises(ConfigError, match=r"^of 1 recipes all that were fast enough diverged: weaken the \[loss\]"):
        find(1)
    assert ": diverged" in capsys.readouterr().err
    assert len(find(4)) in range(1, 4)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """What a search of six recipes leaves: its file and the content."""
    path = tmp_path_factory.mktemp("left") / "search.db"
    study = search._study(path, "key")
    for _ in range(6):
        trial = study.ask()
        found = search._suggest(trial, recipe.Recipe(), (480, 640), any_alpha=True)
        for name, value in (("recipe", found.plain()), ("milliseconds", 1.0), ("balanced_accuracy", 0.5), ("loss", 1)):
            trial.set_user_attr(name, value)
        study.tell(trial, 0.5)
    return path, path.read_bytes()


@given(cut=st.integers(0, 140_000), flips=st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 255)), max_size=200))
@settings(max_examples=25)
def test_a_damaged_search_is_set_aside(left: tuple[Path, bytes], cut: int, flips: list[tuple[int, int]]) -> None:
    """Whatever lies there, what was tried can be read or lies beside it as it was, and a search can begin."""
    path, sound = left
    content = bytearray(sound[: cut or None])
    for place, bits in flips:
        content[place % len(content)] ^= bits
    for old in path.parent.iterdir():
        old.unlink()
    path.write_bytes(content)
    study, aside = search._opened(path, "key"), path.with_suffix(".damaged")
    assert len(search._found(study)) in ((0,) if aside.exists() else range(7))
    assert not aside.exists() or aside.read_bytes() == content


def test_a_search_that_another_one_uses_stays(left: tuple[Path, bytes]) -> None:
    """One that is being written is no damaged one: the file stays where it is, and the line says to wait."""
    path, sound = left
    path.write_bytes(sound)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InspectError, match=r"search.db cannot be used \(database is locked\); .*: wait for"):
            search._opened(path, "key")
    assert path.read_bytes() == sound


def test_a_search_on_a_full_or_read_only_disk_stays(left: tuple[Path, bytes], little: Path) -> None:
    """What cannot be added to is no damage: the file stays where it is, and the line says what to do."""
    path = little / "search.db"
    path.write_bytes(left[1])
    subprocess.run(["mount", "-o", "remount,ro", little], check=True)
    with pytest.raises(InspectError, match=r"search.db cannot be used \(attempt to write a readonly .*; let this user"):
        search._opened(path, "another key")
    subprocess.run(["mount", "-o", "remount,rw", little], check=True)
    study = search._opened(path, "key")
    with (little / "other").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(little).free)
    full = r"search.db cannot be used \(database or disk is full\); make room there"
    with pytest.raises(InspectError, match=full):
        search._opened(path, "another key")
    with pytest.raises(InspectError, match=full), sqlite.usable(path):
        study.set_user_attr("one more", 1)
    assert not path.with_suffix(".damaged").exists()


def test_a_header_that_only_seems_read_only_is_damage(left: tuple[Path, bytes]) -> None:
    """Byte 18 is the version of the format that writes: of a later one SQLite says that it may not be written."""
    path, sound = left
    path.write_bytes(sound[:18] + b"\xff" + sound[19:])
    assert search._found(search._opened(path, "key")) == []
    path.with_suffix(".damaged").unlink()


@pytest.mark.usefixtures("small")
def test_another_question_is_another_search(data: Path, base: Path, tmp_path: Path) -> None:
    """The pictures, the fold, what is mixed in, the base recipe, the weights' content and the seed: each."""
    plain, chosen = listed(data), recipe.read(base)
    weights = tmp_path / "a.h5"
    weights.write_bytes(b"a")
    extra = listed(make_folder(tmp_path / "extra", each=1, start=500)).sources

    def key(given: inputs.Inputs = plain, base: Recipe = chosen, seed: int = 1) -> str:
        return search._key(given, base, str(weights), seed)

    keys = [key(), key(dataclasses.replace(plain, extra=extra)), key(base=replace(chosen, batch=8)), key(seed=2)]
    keys += [key(dataclasses.replace(plain, fold=inputs.Fold(number, 3))) for number in (1, 2)]
    assert key() == keys[0]
    weights.write_bytes(b"b")
    keys.append(key())
    assert len(set(keys)) == 7


def test_the_recipe_that_was_found_builds(data: Path, base: Path, tiny_weights: Path, tmp_path: Path) -> None:
    """The file says what it is, is a recipe, and `build` takes it; the same command again adds to it."""
    out = tmp_path / "found.toml"
    arguments = (
        "search", "--data", data, "--pass", "intact", "--recipe", base, "--weights", tiny_weights, "--out", out,
        "--latency-budget", 1000, "--trials", 1,
    )  # fmt: skip
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    assert "the first of 1 recipes" in result.stdout
    assert out.read_text().startswith("# Found by edge-train search among 1 recipes: validation ")
    found = recipe.parse(tomllib.loads(out.read_text()), "found")
    assert found.model.backbone == "mobilenet-v1"
    assert found.model.height in search.SIZES
    again = run(*arguments)
    assert again.returncode == 0, again.stderr
    assert "the first of 2 recipes" in again.stdout
    built = run(
        "build", "--data", data, "--pass", "intact", "--recipe", out, "--size", 32, "--weights", tiny_weights,
        "--out", tmp_path / "b", "--allow-drop", 0.9,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    found = recipe.read(out)
    assert bundles.read(tmp_path / "b").manifest.pooling == found.pooling


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--out", "{folder}"), ConfigError.exit_code, "is there and is no recipe"),
        (("--out", "{folder}/notes.txt"), ConfigError.exit_code, "notes.txt is there and is no recipe"),
        (("--out", "{folder}/missing/a.toml"), ConfigError.exit_code, "there is no folder"),
        (("--out", "/proc/a.toml"), ConfigError.exit_code, "--out /proc/a.toml: /proc cannot be written to"),
        (("--out", ""), 2, "an empty path"),
        (("--weights", "none"), ConfigError.exit_code, "--weights none: a search compares features"),
        (("--weights", "gone.h5"), DataError.exit_code, "--weights gone.h5: no such file"),
        (("--seed", "-1"), ConfigError.exit_code, "--seed -1 is not a number from 0"),
        (("--trials", "0"), 2, "'0' is not a number of recipes from 1"),
        (("--time-budget", "5"), 2, "'5' is not a time such as 90s, 30m or 2h"),
        (("--time-budget", "0m"), 2, "'0m' is not a time"),
        (("--latency-budget", "-3"), 2, "'-3' is not a number of milliseconds above 0"),
        (("--recipe", "gone.toml"), ConfigError.exit_code, "gone.toml: no such recipe"),
        (("--data", "gone"), DataError.exit_code, "gone: no such folder of pictures"),
    ],
)
def test_a_misuse_is_one_line_at_once(
    data: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """The option, its value and the remedy, and what lay in the way is as it was."""
    (tmp_path / "notes.txt").write_text("notes")
    given = [argument.replace("{folder}", str(tmp_path)) for argument in arguments]
    result = run("search", "--data", data, "--out", tmp_path / "found.toml", *given)
    assert result.returncode == code, result.stderr
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert (tmp_path / "notes.txt").read_text() == "notes"


def test_what_is_wrong_with_the_pictures_is_one_line(tmp_path: Path, base: Path, tiny_weights: Path) -> None:
    """A picture under two labels ends the search as it ends a build: no report of a failed trial besides."""
    from PIL import Image

    folder = make_folder(tmp_path / "data", each=4)
    for kind in ("spot", "scratch"):
        Image.fromarray(draw("spot", 77)).save(folder / kind / "same.png")
    result = run(
        "search", "--data", folder, "--out", tmp_path / "a.toml", "--recipe", base, "--weights", tiny_weights,
    )  # fmt: skip
    assert result.returncode == DataError.exit_code, result.stderr
    errors = [line for line in result.stderr.splitlines() if not line.startswith("reading")]
    assert len(errors) == 1
    assert "are the same picture under two labels; remove one" in errors[0]
    assert not (tmp_path / "a.toml").exists()
