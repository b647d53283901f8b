"""`edge-train build`: a folder of labelled pictures becomes a bundle."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from edge.command import add_command, to_path, to_positive
from edge.contract.preprocess import ResizeMode
from edge.errors import ConfigError
from training import inputs, latency, recipe
from training.build import build
from training.data.dataset import require_outside
from training.evaluation import options as decisions
from training.keygen import read_key
from training.options import Options
from training.recipe import ALPHAS, IMAGENET, Recipe

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from edge.contract.bundle import Bundle

_DESCRIPTION = """Train a model on labelled pictures and write a bundle that edge-inspect runs.

The pictures lie in a folder per class: DIR/crack/1.png, DIR/intact/2.jpg, ... A fifth of each class is held
out; the report's figures are what the device itself says of those. Open report.html in the bundle first.
A build that was interrupted goes on where it ended when the same command is given again.
"""
_EXAMPLES = """examples:
  edge-train build --data parts/ --out parts.bundle --pass intact
      learn from parts/<class>/, where the folder `intact` shows good parts and every other one a defect
  edge-train build --data parts/ --out parts.bundle --pass intact --auto --max-miss 1%
      choose size, tiles and pooling too; let at most 1% of the damaged parts pass, or say what it takes to show that
  edge-train build --data parts/ --out parts.bundle --pass intact --group-by 'regex:part-([0-9]+)'
      several photographs of each part: keep them together
  edge-train build --data parts/ --out new.bundle --pass intact --split-of parts.bundle
      retrain with more pictures, and judge on the same ones as before
  edge-train build --data parts/ --out parts.bundle --weights mobilenet_v2_0.35_224.h5
      on a machine without internet: start from a file instead of the ImageNet download

"""


def add_parser(subparsers: Any) -> None:
    """Add the command to edge-train."""
    summary = "train a model on labelled pictures and write a bundle"
    parser = add_command(subparsers, "build", summary=summary, description=_DESCRIPTION, examples=_EXAMPLES)
    inputs.add_options(parser)
    add_recipe_options(parser)
    add = parser.add_argument_group("model").add_argument
    add(
        "--auto", action="store_true",
        help="choose size, tiles, feature level and pooling by validation, within --latency-budget",
    )  # fmt: skip
    add(
        "--latency-budget", type=to_positive("milliseconds"), metavar="MS",
        help=f"for --auto: milliseconds of the model for a part, on this machine with one thread "
        f"(default {latency.BUDGET_MS:g})",
    )  # fmt: skip
    add(
        "--allow-drop", type=float, default=0.01, metavar="SHARE",
        help="of any class's recall that int8 may cost (default 0.01)",
    )  # fmt: skip
    decisions.add_options(parser)
    add = parser.add_argument_group("result").add_argument
    add("--out", type=to_path, required=True, metavar="BUNDLE", help="a folder, or a zip by the ending .zip")
    add("--key", type=to_path, metavar="PEM", help="sign the bundle with this key (edge-train keygen)")
    add("--logs", type=to_path, metavar="DIR", help="write curves for TensorBoard below this folder")
    parser.set_defaults(run=run)


def add_recipe_options(parser: ArgumentParser) -> None:
    """Add what says which model and how it is trained."""
    add = parser.add_argument_group("recipe").add_argument
    add("--recipe", type=to_path, metavar="TOML", help="every hyper-parameter; the options below come first")
    add(
        "--weights", default=IMAGENET, metavar="imagenet|none|FILE",
        help="start from ImageNet (downloaded once), from nothing, or from a .h5 file of the backbone without top",
    )  # fmt: skip
    known = ", ".join(map(str, ALPHAS["mobilenet-v2"]))
    add("--alpha", type=float, help=f"width of the model: {known} for MobileNetV2 (default 0.35)")
    add("--size", type=_size, metavar="N|WxH", help="pixels, multiples of 32, such as 224 or 320x224 (default 224)")
    add(
        "--mode", choices=get_args(ResizeMode),
        help="how a picture becomes of that shape: squash distorts (default), letterbox pads, centre-crop cuts",
    )  # fmt: skip


def read_recipe(arguments: Namespace) -> Recipe:
    """Return the recipe of the file, with what the options say; raises ConfigError."""
    made = recipe.read(arguments.recipe) if arguments.recipe else Recipe()
    width, height = arguments.size or (None, None)
    model = {"alpha": arguments.alpha, "width": width, "height": height}
    changes = {name: value for name, value in model.items() if value is not None}
    change = msgspec.structs.replace
    try:
        made = change(made, model=change(made.model, **changes))
        return change(made, preprocess=change(made.preprocess, mode=arguments.mode)) if arguments.mode else made
    except ValueError as error:
        raise ConfigError(f"--{_option(error)}") from error


def _option(error: ValueError) -> str:
    """Name the option where the model names its field."""
    text = str(error)
    for field in ("height", "width"):
        text = text.replace(f"{field} ", "size ", 1) if text.startswith(field) else text
    return text


def _size(text: str) -> tuple[int, int]:
    """Read N or WxH as (width, height)."""
    sides = text.split("x")
    if len(sides) not in (1, 2) or not all(side.isdecimal() and side.isascii() for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is neither N nor WIDTHxHEIGHT, such as 224 or 320x224")
    return int(sides[0]), int(sides[-1])


def run(arguments: Namespace) -> int:
    """Check everything cheap first, then read, train and write; prints the headline figures."""
    if arguments.auto and arguments.size:
        width, height = arguments.size
        raise ConfigError(f"--size {width}x{height} says nothing with --auto, which chooses it; leave one out")
    if arguments.latency_budget and not arguments.auto:
        raise ConfigError(f"--latency-budget {arguments.latency_budget:g} says nothing without --auto; add --auto")
    for folder in filter(None, (arguments.data, arguments.test_data, arguments.mix_in)):
        require_outside(arguments.out, folder)
    options = Options(
        out=arguments.out,
        aim=decisions.read_options(arguments),
        weights=None if arguments.weights == "none" else arguments.weights,
        seed=arguments.seed,
        recipe=read_recipe(arguments),
        auto_ms=(arguments.latency_budget or latency.BUDGET_MS) if arguments.auto else None,
        allow_drop=arguments.allow_drop,
        signing_key=read_key(arguments.key) if arguments.key else None,
        logs=arguments.logs,
    )
    written = build(inputs.read_options(arguments), options)
    for warning in json.loads(written.files["report.json"])["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(_summary(written))
    return 0


def _summary(written: Bundle) -> str:
    found = written.manifest.metrics
    return (
        f"{written.path}: {found['accuracy_int8']:.2%} of {found['test_pictures']:.0f} held-out pictures right on the "
        f"device ({found['accuracy_float']:.2%} before quantization); see {written.path}/report.html"
    )
