from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import BundleError, ConfigError, DataError
from training import build_command, search_command
from training.evaluation.thresholds import Aim
from training.options import Options, require_writable
from training.recipe import Model, Recipe


def read_recipe(*arguments: str) -> Recipe:
    """Read a recipe as build and search do."""
    parser = argparse.ArgumentParser()
    build_command.add_recipe_options(parser)
    return build_command.read_recipe(parser.parse_args([*arguments]))


def test_options_come_before_the_recipes_file(tmp_path: Path) -> None:
    """The command line changes what it names, and leaves the rest of the file."""
    path = tmp_path / "recipe.toml"
    path.write_text('[model]\nalpha = 0.5\nheight = 96\nwidth = 96\ndropout = 0.1\n[preprocess]\nmode = "letterbox"\n')
    assert read_recipe("--recipe", str(path)).model == Model(alpha=0.5, height=96, width=96, dropout=0.1)
    changed = read_recipe("--recipe", str(path), "--size", "320x224", "--alpha", "1.0", "--mode", "squash")
    assert changed.model == Model(alpha=1.0, height=224, width=320, dropout=0.1)
    assert changed.preprocess.mode == "squash"
    assert read_recipe("--size", "160").model == Model(height=160, width=160)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weights": "gone.h5"}, DataError, r"--weights gone\.h5: no such file; or say imagenet"),
        ({"seed": -1}, ConfigError, "seed -1 is not a number from 0"),
        ({"seed": 2**32}, ConfigError, "seed 4294967296 is not a number from 0"),
        ({"allow_drop": -0.1}, ConfigError, r"--allow-drop -0\.1 is not a share"),
        ({"allow_drop": 1.0}, ConfigError, "--allow-drop 1 is not a share"),
        ({"auto_ms": 5.0, "weights": None}, ConfigError, "give --weights, or leave --auto out"),
        ({"logs": Path("/proc/logs/here")}, ConfigError, "--logs /proc/logs/here: /proc cannot be written to"),
        ({"out": Path("/proc/b")}, BundleError, "--out /proc/b: /proc cannot be written to"),
    ],
)
def test_what_would_fail_only_after_the_training_is_refused_before(
    tmp_path: Path, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    """One line with the option, its value and what to do, and nothing is left where it was tried."""
    with pytest.raises(error, match=message):
        Options(**({"out": tmp_path / "b", "aim": Aim()} | settings))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_holds_no_logs(tmp_path: Path) -> None:
    """A file where --logs should be is refused."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--logs .*file cannot be written to"):
        Options(out=tmp_path / "b", aim=Aim(), logs=tmp_path / "file")


def test_an_ordinary_user_is_told_what_he_may_not_write(ordinary_user: Path) -> None:
    """A folder without the right to write in it is an error of the option that names it."""
    (ordinary_user / "locked").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match=r"--out it: .*locked cannot be written to .*; choose a folder"):
        require_writable(ordinary_user / "locked", "--out it", ConfigError)
    require_writable(ordinary_user, "--out it", ConfigError)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("0.5s", 0.5)])
def test_times_are_read_with_their_unit(text: str, seconds: float) -> None:
    """Seconds, minutes and hours, with decimals."""
    assert search_command._seconds(text) == seconds


@given(st.text(max_size=8) | st.from_regex(r"[0-9.]{0,8}[smh]?", fullmatch=True))
def test_any_time_is_above_0_or_refused(text: str) -> None:
    """A search is never told to end at once, nor never."""
    with contextlib.suppress(argparse.ArgumentTypeError):
        assert 0 < search_command._seconds(text) < 1e10


@given(st.text(max_size=8) | st.integers(-5, 10**7).map(str))
def test_any_number_of_recipes_is_in_range_or_refused(text: str) -> None:
    """None at all, or more than there is time for, is no number of recipes to try."""
    with contextlib.suppress(argparse.ArgumentTypeError):
        assert 1 <= search_command._count(text) <= 100_000


@pytest.mark.parametrize("size", ["", "x", "64x", "64x64x64", "-64", "6 4", "٣٢", "1e3"])
def test_a_size_is_one_or_two_plain_numbers(size: str) -> None:
    """Everything else is a wrong command line, in one line."""
    with pytest.raises(argparse.ArgumentTypeError, match="is neither N nor WIDTHxHEIGHT"):
        build_command._size(size)
