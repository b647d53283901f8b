"""`python augment.py [--side 224]`: what a view of a picture costs, whole and by operation, and on two threads.

Everything is measured interleaved on one core, and the median of the CPU time is shown: another load on the machine
meets all rows. An operation's own cost is its row less the first one's.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import mean, median
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from edge.synthetic import render
from training.data.augment import vary
from training.recipe import Augmentation

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels

VIEWS = 400
"""Of every row."""
ROUNDS, THREADED = 12, 150
LIMIT_MS = 1.0
"""Of the default recipe at 224x224: less than the frozen network takes on a core."""
NOTHING: dict[str, float | bool] = {
    **dict.fromkeys(("mirror", "quarter_turns"), False),
    **dict.fromkeys(
        ("crop", "pad", "brightness", "contrast", "temperature", "noise", "blur", "jpeg", "resampler"), 0.0
    ),
}
ROWS: dict[str, dict[str, float | bool]] = {
    "nothing": {},
    "mirror and quarter turns": {"mirror": True, "quarter_turns": True},
    "crop and pad": {"crop": 0.02, "pad": 0.08},
    "free rotation": {"rotate": 15.0},
    "brightness, contrast, temperature": {"brightness": 0.1, "contrast": 0.15, "temperature": 0.02},
    "noise": {"noise": 0.02},
    "blur, every second view": {"blur": 0.5},
    "blur of up to 4 pixels": {"blur": 4.0},
    "another scaler, every view": {"resampler": 1.0},
    "JPEG, every view": {"jpeg": 1.0},
    "occlusion, every view": {"occlusion": 1.0},
}


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=224, help="pixels of the square picture (default 224)")
    side = parser.parse_args().side
    picture = render(1, 0, height=side, width=side, label="intact").pixels
    vary(picture, Augmentation(noise=0.1), np.random.default_rng(0))  # The first view draws the noise for all.
    console = Console()
    console.print(costs(picture))
    console.print(threads(picture))


def costs(picture: Pixels) -> Table:
    """Time the default recipe and each operation alone."""
    recipes = {"the default recipe": Augmentation()}
    recipes |= {name: Augmentation(**{**NOTHING, **fields}) for name, fields in ROWS.items()}  # type: ignore[arg-type]
    times: dict[str, list[float]] = {name: [] for name in recipes}
    for number in range(VIEWS):
        for name, recipe in recipes.items():
            rng = np.random.default_rng(number)
            started = time.thread_time()
            vary(picture, recipe, rng)
            times[name].append(1e3 * (time.thread_time() - started))
    table = Table("one view", "median ms", "mean ms", "", title=f"{picture.shape[1]}x{picture.shape[0]}, one core")
    for name, found in times.items():
        limit = f"limit {LIMIT_MS:g}" if name == "the default recipe" else ""
        table.add_row(name, f"{median(found):.2f}", f"{mean(found):.2f}", limit)
    return table


def threads(picture: Pixels) -> Table:
    """Compare what one and two threads get done at best: another load on the machine leaves two less to gain."""
    table = Table("threads", "views a second", "times one thread", title="the default recipe")
    rounds = [[_rate(picture, count) for count in (1, 2)] for _ in range(ROUNDS)]
    one, two = (max(rates) for rates in zip(*rounds, strict=True))
    table.add_row("1", f"{one:.0f}", "")
    table.add_row("2", f"{two:.0f}", f"{two / one:.2f}")
    return table


def _rate(picture: Pixels, count: int) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda number: vary(picture, Augmentation(), np.random.default_rng(number)), range(THREADED)))
    return THREADED / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
