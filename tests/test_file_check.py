from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace
from PIL import Image
from test_check import draw_parts
from test_inputs import SMALL, read
from tiny_parts import draw, make_folder, run

from training.recipe import Model

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_camera_bits_that_nobody_scaled_are_told(tmp_path: Path) -> None:
    """12 bits in 16 become nearly black: a warning names them, not those that use 16, nor dark ones."""
    draw_parts(tmp_path, each=8)
    grey = np.asarray(Image.open(tmp_path / "intact" / "000.png").convert("L")).astype(np.uint16)
    grey[0, 0] = 255
    for bits in (10, 12, 14, 15, 16):
        for ending in ("png", "tiff"):
            Image.fromarray(grey << (bits - 8)).save(tmp_path / "intact" / f"{bits}-bits.{ending}")
    Image.fromarray((grey >> 3).astype(np.uint8)).save(tmp_path / "intact" / "dark.png")
    result = run("data", "check", tmp_path, "--weights", "none", "--json")
    found = {each["kind"]: each for each in json.loads(result.stdout)["findings"]}
    names = [name for item in found["shallow"]["items"] for name in item["names"]]
    assert names == [f"intact/{bits}-bits.{ending}" for bits in (10, 12, 14) for ending in ("png", "tiff")]
    assert (found["shallow"]["level"], len(found["deep"]["items"])) == ("warning", 10)
    assert found["shallow"]["text"].startswith("6 pictures with 16 bits a channel and no value above 16,383: nearly")
    assert "by 4 bits to the left" in found["shallow"]["remedy"]


def test_pictures_of_camera_bits_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A build says in one line that 12 bits were saved as they came, however often it reads the pictures."""
    given = read("--data", make_folder(tmp_path / "data", each=8))
    given.divide(SMALL)
    assert "16 bits" not in capsys.readouterr().err
    for number in range(2):
        deep = np.asarray(Image.fromarray(draw("spot", 70 + number)).convert("L"), np.uint16) << 4
        Image.fromarray(deep).save(tmp_path / "data" / "spot" / f"deep-{number}.png")
    given = read("--data", tmp_path / "data")
    given.divide(SMALL)
    given.divide(replace(SMALL, model=Model(height=64, width=64)))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "16 bits" in line]
    assert line.startswith(f"reading {tmp_path / 'data'}: 2 pictures with 16 bits a channel and no value above 16,383")
    assert line.endswith("by 4 bits to the left (the first: spot/deep-0.png)")


def test_what_is_passed_over_is_told(tmp_path: Path) -> None:
    """Linked folders inside a class and files of other endings are no pictures of the set: the check says so."""
    data, elsewhere = make_folder(tmp_path / "data", each=8), make_folder(tmp_path / "more", each=2)
    (data / "spot" / "batch-2").symlink_to(elsewhere / "spot")
    (data / "spot" / ".thumbs").mkdir()
    for name in ("a.heic", "B.HEIC", "notes", ".hidden", ".thumbs/c.heic"):
        (data / "spot" / name).touch()
    result = run("data", "check", data, "--weights", "none", "--json")
    found = {each["kind"]: each for each in json.loads(result.stdout)["findings"]}
    assert [item["names"] for item in found["links"]["items"]] == [["spot/batch-2"]]
    assert found["links"]["level"] == "warning"
    assert found["endings"]["text"] == "3 files of other endings: .heic 2, none 1"
