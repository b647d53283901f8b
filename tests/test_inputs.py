from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image
from tiny_parts import CLASSES, draw, make_folder

from edge.contract import bundle as bundles
from edge.contract.preprocess import PreprocessSpec, ResizeMode
from edge.errors import BundleError, ConfigError, DataError
from training import inputs
from training.data import dataset, groups, saved_split
from training.data.dataset import Source
from training.recipe import Model, Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from edge.contract.preprocess import Pixels
    from training.data.divided import Divided

SMALL = Recipe(model=Model(height=32, width=64))


def read(*arguments: object) -> inputs.Inputs:
    """List what a command line names, as the commands do."""
    parser = argparse.ArgumentParser()
    inputs.add_options(parser)
    return inputs.read_options(parser.parse_args([*map(str, arguments)]))


def divide(*arguments: object) -> Divided:
    return read(*arguments).divide(SMALL)


def part_of(divided: Divided) -> dict[str, set[str]]:
    """Return in which parts the pictures of each part number lie; names are <class>/<part>..."""
    found: dict[str, set[str]] = {}
    for name, part in divided.parts._asdict().items():
        for source in part.sources:
            found.setdefault(source.name.split("/")[1][:3], set()).add(name)
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Each part number was photographed in every class, and twice in `spot`: 000.png, 000-again.png."""
    folder = make_folder(tmp_path / "data", each=10)
    for seed in range(10):
        Image.fromarray(draw("spot", 500 + seed)).save(folder / "spot" / f"{seed:03}-again.png")
    return folder


def test_pictures_of_one_part_stay_together_by_a_pattern(data: Path) -> None:
    """What the pattern's group finds in the names is in one part of the split only; without it some is torn."""
    together = part_of(divide("--data", data, "--group-by", r"regex:/(\d+)"))
    assert {len(parts) for parts in together.values()} == {1}
    torn = part_of(divide("--data", data))
    assert max(len(parts) for parts in torn.values()) > 1


def test_pictures_of_one_part_stay_together_by_their_folder(data: Path) -> None:
    """A folder below the class is a part, the same one in every class."""
    for path in list(data.rglob("*.png")):
        (path.parent / path.name[:3]).mkdir(exist_ok=True)
        path.rename(path.parent / path.name[:3] / path.name)
    divided = divide("--data", data, "--group-by", "folder")
    assert {len(parts) for parts in part_of(divided).values()} == {1}
    assert divided.whole().pixels.shape == (40, 32, 64, 3)


def test_near_duplicates_stay_together(tmp_path: Path) -> None:
    """A picture saved again as JPEG goes where the first one is."""
    folder = make_folder(tmp_path / "data", each=8)
    for path in list((folder / "spot").iterdir()):
        Image.open(path).save(path.with_name(f"{path.stem}.jpg"), quality=90)
    divided = divide("--data", folder, "--group-by", "near-duplicate")
    parts = {source.name: name for name, part in divided.parts._asdict().items() for source in part.sources}
    assert all(parts[f"spot/{seed:03}.png"] == parts[f"spot/{seed:03}.jpg"] for seed in range(8))


def bundle_of(like: Path, out: Path, data: Path, rule: str, *arguments: object) -> Path:
    """Write a bundle whose split of `data` was made by a rule."""
    given = read("--data", data, "--group-by", rule, *arguments)
    own_test = given.test_sources is not None
    split = saved_split.record(given.divide(SMALL).dealt, seed=given.seed, group_by=given.rule.text, own_test=own_test)
    bundle = bundles.read(like)
    bundles.write(out, bundle.manifest, {**bundle.files, saved_split.FILE: split.encode()})
    return out


def test_a_kept_split_keeps_its_rule(data: Path, demo_bundle: Path, tmp_path: Path) -> None:
    """--split-of alone deals new pictures by the rule of old ones: a new view of a part goes where the part is."""
    by_part = r"regex:/(\d+)"
    kept = bundle_of(demo_bundle, tmp_path / "b", data, by_part)
    for seed in range(10):
        Image.fromarray(draw("scratch", 700 + seed)).save(data / "scratch" / f"{seed:03}-again.png")
    given = read("--data", data, "--split-of", kept)
    assert given.rule.text == by_part
    assert {len(parts) for parts in part_of(given.divide(SMALL)).values()} == {1}
    assert read("--data", data, "--split-of", kept, "--group-by", by_part).rule == given.rule


@pytest.mark.parametrize("rule", ["none", "folder", r"regex:(\d)"])
def test_a_kept_split_takes_no_other_rule(data: Path, demo_bundle: Path, tmp_path: Path, rule: str) -> None:
    """Parts that the old rule kept together would be torn: both rules are named, with the remedy, in one line."""
    kept = bundle_of(demo_bundle, tmp_path / "b", data, "near-duplicate")
    message = f"--group-by {rule}: the split of --split-of was made with --group-by near-duplicate; leave --group-by"
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read("--data", data, "--split-of", kept, "--group-by", rule)
    assert "\n" not in str(caught.value)


def test_a_split_without_groups_may_get_a_rule(data: Path, demo_bundle: Path, tmp_path: Path) -> None:
    """New pictures are dealt by it, old ones stay where they were."""
    kept = bundle_of(demo_bundle, tmp_path / "b", data, "none")
    for kind in CLASSES:
        for seed in range(600, 604):
            Image.fromarray(draw(kind, seed)).save(data / kind / f"{seed:03}.png")
    given = read("--data", data, "--split-of", kept, "--group-by", r"regex:/(\d+)")
    assert given.kept is not None
    parts = given.divide(SMALL).parts._asdict()
    for name, names in given.kept.parts.items():
        assert set(names) <= {source.name for source in parts[name].sources}
    places = part_of(given.divide(SMALL))
    assert {len(places[str(seed)]) for seed in range(600, 604)} == {1}


def test_models_are_chosen_without_calibration_and_test_pictures(data: Path, tmp_path: Path) -> None:
    """What `--auto` learns from are the training and validation parts, with the groups of just these."""
    divided = divide("--data", data, "--group-by", r"regex:/(\d+)", "--mix-in", make_folder(tmp_path / "e", start=800))
    wanted = {*divided.dealt.train.digests, *divided.dealt.validation.digests}
    for most in (10_000, 9):
        some, groups = divided.learnable(most, seed=1)
        assert set(some.digests) <= wanted
        assert len(some.digests) == min(most, len(wanted))
        assert groups == [source.name.split("/")[1][:3] for source in some.sources]
    assert set(some.counts().values()) == {3}


def test_a_sample_is_the_same_at_every_canvas(data: Path) -> None:
    """Sizes are compared on the same pictures, of which no others are read."""
    given = read("--data", data)
    some, _ = given.divide(SMALL).learnable(10, seed=1)
    larger = replace(SMALL, model=Model(height=64, width=64))
    again = given.again(some, larger)
    assert again.sources == some.sources
    assert np.array_equal(again.pixels, given.divide(larger).learnable(10, seed=1)[0].pixels)


def test_pictures_of_every_kind_are_read(tmp_path: Path) -> None:
    """16-bit, grey, turned by EXIF, transparent, palette, and JPEG called .png: each becomes the device's pixels."""
    folder = make_folder(tmp_path / "data", each=8)
    spot = folder / "spot"
    picture = Image.fromarray(draw("spot", 1))
    Image.fromarray(np.asarray(picture.convert("L"), np.uint16) * 257).save(spot / "deep.png")
    Image.fromarray(draw("spot", 61)).convert("L").save(spot / "grey.png")
    Image.fromarray(draw("spot", 62)).convert("RGBA").save(spot / "clear.png")
    Image.fromarray(draw("spot", 63)).convert("P").save(spot / "palette.png")
    Image.fromarray(draw("spot", 64)).save(spot / "jpeg.png", "JPEG")
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(draw("spot", 65)).save(spot / "turned.png", exif=exif)
    given = divide("--data", folder).whole()
    assert given.counts()["spot"] == 14
    shown = dict(zip((source.name for source in given.sources), given.pixels, strict=True))
    grey = np.asarray(picture.convert("L"))
    deep = next(source.load() for source in given.sources if source.name == "spot/deep.png")
    assert np.array_equal(deep, np.repeat(grey[..., np.newaxis], 3, axis=2))
    assert next(s.load().shape for s in given.sources if s.name == "spot/turned.png") == (48, 40, 3)
    assert (np.ptp(shown["spot/grey.png"].astype(int), axis=2) == 0).all()


def test_every_fold_is_judged_by_others_and_together_by_all(data: Path, tmp_path: Path) -> None:
    """`--fold K/N` takes the Kth share as the test part, and the split that is saved with the bundle is that one."""
    folds = [divide("--data", data, "--fold", f"{number}/3") for number in (1, 2, 3)]
    judged = [digest for each in folds for digest in each.parts.test.digests]
    assert sorted(judged) == sorted(folds[0].digests)
    with pytest.raises(ConfigError, match="--fold and --test-data both say which pictures judge; leave one out"):
        read("--data", data, "--fold", "1/3", "--test-data", make_folder(tmp_path / "t", start=900))


@given_any(st.from_regex(r"[0-9]{0,3}/?[0-9]{0,3}", fullmatch=True) | st.text(max_size=6))
def test_any_fold_is_one_of_its_count_or_refused(text: str) -> None:
    """No text gives a fold that is not there."""
    with contextlib.suppress(argparse.ArgumentTypeError):
        fold = inputs.parse_fold(text)
        assert 1 <= fold.number <= fold.count
        assert fold.count >= 2


def test_other_sizes_leave_the_split_as_it_is(data: Path) -> None:
    """`--auto` and `search` compare sizes on the same division."""
    given = read("--data", data)
    first, second = given.divide(SMALL), given.divide(replace(SMALL, model=Model(height=64, width=64)))
    assert [part.digests for part in first.parts] == [part.digests for part in second.parts]


@pytest.fixture
def borderline(data: Path) -> Path:
    """Of each picture of `spot` a noisy copy: more or less of them count as near duplicates at each size."""
    for seed in range(10):
        noise = np.random.default_rng(seed).normal(0, 10 + seed, (40, 48, 3))
        noisy = np.clip(draw("spot", seed) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(data / "spot" / f"{seed:03}-noisy.png")
    (data / "spot" / "broken.png").write_bytes(b"no picture")
    return data


def test_other_sizes_leave_likeness_as_it_is(borderline: Path) -> None:
    """Near duplicates are those of one fixed canvas, so that no size chooses by what another one is tested on."""
    given = read("--data", borderline, "--group-by", "near-duplicate", "--skip-bad")
    shapes = [(32, 64), (64, 64), (160, 160), (224, 224), (320, 320)]
    recipes = [replace(SMALL, model=Model(height=height, width=width)) for height, width in shapes]
    divided = [given.divide(recipe) for recipe in recipes]
    assert len({tuple(part.digests for part in each.parts) for each in divided}) == 1
    keys = {tuple(each.keys.values()) for each in divided}
    assert len(keys) == 1
    read_at = partial(dataset.read, given.labels, given.sources, spec=PreprocessSpec(), skip_bad=True)
    assert len({groups.group_keys(given.rule, read_at(canvas=shape))[0] for shape in shapes}) > 1
    modes = [replace(SMALL, preprocess=PreprocessSpec(mode=mode)) for mode in get_args(ResizeMode)]
    assert {tuple(given.divide(recipe).keys.values()) for recipe in modes} == keys


@pytest.mark.parametrize(
    ("rule", "size", "first"), [("none", 32, 1), ("near-duplicate", 32, 2), ("near-duplicate", 224, 1)]
)
def test_likeness_is_measured_once(data: Path, rule: str, size: int, first: int) -> None:
    """Only the first division reads the pictures again for it, unless they have the right canvas already."""
    read_of: Counter[str] = Counter()

    def counting(source: Source) -> Source:
        def load() -> Pixels:
            read_of[source.name] += 1
            return source.load()

        return Source(source.name, source.label, load)

    given = read("--data", data, "--group-by", rule)
    given = dataclasses.replace(given, sources=[counting(source) for source in given.sources])
    recipe = replace(SMALL, model=Model(height=size, width=size))
    given.divide(recipe)
    assert set(read_of.values()) == {first}
    given.divide(replace(recipe, model=Model(height=64, width=96)))
    assert set(read_of.values()) == {first + 1}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("--group-by", "parts"), ConfigError, "--group-by parts: no such rule; say none, folder"),
        (("--group-by", "regex:("), ConfigError, "not a regular expression"),
        (("--group-by", "regex:xyz(.)"), ConfigError, "matches no picture, such as"),
        (("--group-by", "regex:-(again)"), DataError, "pictures do not match: .*; rename them, or mend the pattern"),
        (("--group-by", "folder"), DataError, "40 pictures lie in no folder below their class"),
        (("--group-by", "regex:(.)"), DataError, "has 1 distinct pictures or groups of them; it takes at least 4"),
        (("--split-of", "nowhere.bundle"), BundleError, r"nowhere\.bundle"),
        (("--mix-in", "nowhere"), DataError, "nowhere: no such folder of pictures"),
        (("--test-data", "nowhere"), DataError, "nowhere: no such folder of pictures"),
    ],
)
def test_what_cannot_be_divided_is_one_clear_line(
    data: Path, arguments: tuple[str, ...], error: type[Exception], message: str
) -> None:
    """The option, its value and the remedy."""
    with pytest.raises(error, match=message) as caught:
        divide("--data", data, *arguments)
    assert "\n" not in str(caught.value)


def test_a_bundle_without_a_split_is_named(data: Path, demo_bundle: Path, tmp_path: Path) -> None:
    """Bundles of other origin have none: the option says so."""
    bundle = bundles.read(demo_bundle)
    files = {name: content for name, content in bundle.files.items() if name != "split.json"}
    bundles.write(tmp_path / "b", bundle.manifest, files)
    with pytest.raises(BundleError, match=r"the bundle has no split\.json; leave the option out"):
        read("--data", data, "--split-of", tmp_path / "b")
