"""`edge-train build`: a folder of labelled pictures becomes a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from edge.command import add_command, to_path
from edge.contract.preprocess import PreprocessSpec, ResizeMode
from edge.errors import ConfigError
from training.build import Options, build
from training.data import dataset
from training.keygen import read_key
from training.recipe import ALPHAS, IMAGENET, Model, Recipe

if TYPE_CHECKING:
    from argparse import Namespace

    from edge.contract.bundle import Bundle
    from training.data.dataset import Dataset

_DESCRIPTION = """Train a model on labelled pictures and write a bundle that edge-inspect runs.

The pictures lie in a folder per class: DIR/crack/1.png, DIR/intact/2.jpg, ... A fifth of each class is held
out; the report's figures are what the device itself says of those. Open report.html in the bundle first.
"""
_EXAMPLES = """examples:
  edge-train build --data parts/ --out parts.bundle --pass intact
      learn from parts/<class>/, where the folder `intact` shows good parts and every other one a defect
  edge-train build --data parts/ --test-data night-shift/ --out parts.bundle --pass intact
      judge the model on pictures of its own rather than on a fifth of parts/
  edge-train build --data parts/ --out parts.bundle --weights mobilenet_v2_0.35_224.h5
      on a machine without internet: start from a file instead of the ImageNet download

"""


def add_parser(subparsers: Any) -> None:
    """Add the command to edge-train."""
    summary = "train a model on labelled pictures and write a bundle"
    parser = add_command(subparsers, "build", summary=summary, description=_DESCRIPTION, examples=_EXAMPLES)
    add = parser.add_argument
    add("--data", type=to_path, required=True, metavar="DIR", help="labelled pictures, a folder per class")
    add("--out", type=to_path, required=True, metavar="BUNDLE", help="a folder, or a zip by the ending .zip")
    add("--test-data", type=to_path, metavar="DIR", help="held-out pictures with the same class folders")
    add(
        "--pass", dest="passing", nargs="+", action="extend", default=[], metavar="CLASS",
        help="classes that mean an intact part; without it every class is a defect",
    )  # fmt: skip
    add(
        "--weights", default=IMAGENET, metavar="imagenet|none|FILE",
        help="start from ImageNet (downloaded once), from nothing, or from a .h5 file of MobileNetV2 without top",
    )  # fmt: skip
    add(
        "--alpha",
        type=float,
        default=0.35,
        help=f"width of the model: {', '.join(map(str, ALPHAS['mobilenet-v2']))} (default 0.35)",
    )
    add("--size", type=int, default=224, help="pixels, a multiple of 32 (default 224)")
    add("--seed", type=int, default=1, help="the same seed and pictures give the same split (default 1)")
    add(
        "--mode", choices=get_args(ResizeMode), default="squash",
        help="how a picture becomes square: distorted (default), padded, or cut",
    )  # fmt: skip
    add("--skip-bad", action="store_true", help="leave out unreadable pictures and count them in the report")
    add("--key", type=to_path, metavar="PEM", help="sign the bundle with this key (edge-train keygen)")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Check everything cheap first, then read, train and write; prints the headline figures."""
    options = Options(
        out=arguments.out,
        weights=None if arguments.weights == "none" else arguments.weights,
        seed=arguments.seed,
        recipe=_recipe(arguments),
        signing_key=read_key(arguments.key) if arguments.key else None,
    )
    print(_summary(build(*_read_data(arguments, options), options)))
    return 0


def _recipe(arguments: Namespace) -> Recipe:
    try:
        model = Model(alpha=arguments.alpha, height=arguments.size, width=arguments.size)
    except ValueError as error:
        raise ConfigError(f"--{str(error).replace('height', 'size')}") from error
    return Recipe(model=model, preprocess=PreprocessSpec(mode=arguments.mode))


def _read_data(arguments: Namespace, options: Options) -> tuple[Dataset, Dataset | None]:
    labels = dataset.folder_labels(arguments.data, arguments.passing)
    folders = [folder for folder in (arguments.data, arguments.test_data) if folder]
    # All folders are looked through before the first picture is read.
    listed = [(folder, dataset.folder_sources(folder, labels)) for folder in folders]
    read = [
        dataset.read(
            labels,
            sources,
            canvas=options.recipe.canvas,
            spec=options.recipe.preprocess,
            skip_bad=arguments.skip_bad,
            title=f"reading {folder}",
        )
        for folder, sources in listed
    ]
    return read[0], read[1] if arguments.test_data else None


def _summary(written: Bundle) -> str:
    found = written.manifest.metrics
    return (
        f"{written.path}: {found['accuracy_int8']:.2%} of {found['test_pictures']:.0f} held-out pictures right on the "
        f"device ({found['accuracy_float']:.2%} before quantization); see {written.path}/report.html"
    )
