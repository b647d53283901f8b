"""Labelled sets of rendered cutting inserts: folders of pictures to look at and train on, or arrays in memory.

`edge-train synthetic` writes DIR/<label>/<seed>-<index>.png, a data set that `edge-train build` reads.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from edge.command import add_command, to_path
from edge.errors import ConfigError, DataError
from edge.synthetic import LABELS, render
from training import progress

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge.contract.preprocess import Pixels
    from edge.synthetic import Part

Result = TypeVar("Result")

ORDER_FILE = "synthetic.json"
"""Lies in a set's folder and says what the set is: only the same set may be resumed there."""
_DESCRIPTION = """Render cutting inserts seen from above into a folder per class: intact, or one of four damages.

The same seed gives the same pictures. A run that was stopped goes on where it ended.
"""
_LEAST_SIDE, _MOST_SIDE = 32, 4096
"""Pixels; within what the device's synthetic camera renders."""
_CHUNK = 50
"""Parts that a worker takes at once."""


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which parts a set consists of: indices 0 to count - 1 of a seed, each label in turn."""

    seed: int
    count: int
    width: int = 160
    height: int = 128

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered; raises ValueError."""
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is below 0")
        if self.count < len(LABELS):
            raise ValueError(f"count {self.count} is below {len(LABELS)}: each kind must be shown once")
        if not all(_LEAST_SIDE <= side <= _MOST_SIDE for side in (self.width, self.height)):
            raise ValueError(f"size {self.width}x{self.height} is not within {_LEAST_SIDE} to {_MOST_SIDE} pixels")

    def __str__(self) -> str:
        """Say in words what the set is."""
        return f"{self.count} parts of seed {self.seed} at {self.width}x{self.height} pixels"

    def label(self, index: int) -> int:
        """Return a part's class as an index of LABELS: every class is as frequent as the others."""
        return index % len(LABELS)

    def name(self, index: int) -> str:
        """Return a part's file name in the set, as the synthetic camera names its frames."""
        return f"{LABELS[self.label(index)]}/{self.seed}-{index:06d}.png"

    def render(self, index: int) -> Part:
        """Render one part of the set."""
        label = LABELS[self.label(index)]
        return render(self.seed, index, height=self.height, width=self.width, label=label)


def in_parallel(work: Callable[[int], Result], count: int, title: str) -> Iterator[Result]:
    """Yield work(0), work(1), ... in order, done by a process on every core; `work` must be picklable."""
    # TensorFlow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool, progress.stage(title, count) as advance:
        for result in pool.map(work, range(count), chunksize=_CHUNK):
            yield result
            advance()


def write(order: Order, folder: Path, masks: Path | None = None) -> int:
    """Write a set's pictures (and masks, the same names, damage 255 on 0); returns how many were new.

    Raises DataError for a folder that holds anything but a part of the same set, or cannot be written.
    """
    if masks is not None and masks.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"--masks {masks} lies inside {folder}, where each folder is a class: choose one outside")
    for place in (folder, masks):
        if place is not None:
            _claim(place, order)
    return sum(in_parallel(partial(_write_part, order, folder, masks), order.count, f"rendering {folder}"))


def _claim(folder: Path, order: Order) -> None:
    """Make the folder, or make sure that what lies there belongs to the same set."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = {path.name for path in folder.iterdir()}
        if not found:
            (folder / ORDER_FILE).write_bytes(msgspec.json.encode(order) + b"\n")
        elif ORDER_FILE not in found or _read_order(folder / ORDER_FILE) != order:
            raise DataError(f"{folder} holds something other than {order}: choose an empty folder")
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; choose a folder that you may write to") from error


def _read_order(path: Path) -> Order | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Order)
    except msgspec.DecodeError:
        return None


def _write_part(order: Order, folder: Path, masks: Path | None, index: int) -> bool:
    """Write one part unless it is there; returns whether it was new."""
    name = order.name(index)
    wanted = [place / name for place in (folder, masks) if place is not None]
    if all(path.exists() for path in wanted):
        return False
    part = order.render(index)
    for path, pixels in zip(wanted, (part.pixels, part.mask.astype(np.uint8) * 255), strict=False):
        _save(path, pixels)
    return True


def _save(path: Path, pixels: Pixels) -> None:
    """Write a PNG under a name of its own first: a file that is there is whole."""
    from PIL import Image

    unfinished = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(unfinished, "PNG", compress_level=1)
        unfinished.replace(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; make room or choose another folder, then run it again") from error


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, such as 160x128")
    return int(width), int(height)


def add_parser(subparsers: Any) -> None:
    """Add the command to edge-train."""
    summary = "render labelled pictures of cutting inserts"
    parser = add_command(subparsers, "synthetic", summary=summary, description=_DESCRIPTION)
    add = parser.add_argument
    add("--out", type=to_path, required=True, metavar="DIR", help="a folder that is empty, new, or of the same set")
    add("--count", type=int, default=1000, metavar="N", help="pictures in all, as many of each class (default 1000)")
    add("--size", type=_size, default=(160, 128), metavar="WxH", help="pixels (default 160x128)")
    add("--seed", type=int, default=1, help="another seed, other parts (default 1)")
    add("--masks", type=to_path, metavar="DIR", help="also write where the damage is, by the same names, here")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Write the set; prints what there is."""
    width, height = arguments.size
    try:
        order = Order(seed=arguments.seed, count=arguments.count, width=width, height=height)
    except ValueError as error:
        raise ConfigError(f"--{error}") from error
    new = write(order, arguments.out, arguments.masks)
    print(f"{arguments.out}: {order.count} pictures in {len(LABELS)} classes, {new} of them new")
    return 0
