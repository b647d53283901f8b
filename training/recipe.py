"""How a model is made: every hyper-parameter in one place, read from TOML, saved with the result."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec

from edge.contract.pooling import Mean, Pooling
from edge.contract.preprocess import MAX_SIDE, STRIDE, PreprocessSpec
from edge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

IMAGENET = "imagenet"
"""Weights to start from: those that Keras downloads."""
Backbone: TypeAlias = Literal["mobilenet-v1", "mobilenet-v2", "mobilenet-v3-small", "mobilenet-v3-large", "residual"]
Level: TypeAlias = Literal["stride-32", "stride-16", "both"]
ALPHAS: dict[Backbone, tuple[float, ...]] = {
    "mobilenet-v1": (0.25, 0.5, 0.75, 1.0),
    "mobilenet-v2": (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
    "mobilenet-v3-small": (1.0,),
    "mobilenet-v3-large": (1.0,),
    "residual": (0.25, 0.35, 0.5, 0.75, 1.0),
}
"""The widths that Keras has ImageNet weights for (version 3: in its minimalistic form); residual: sensible ones."""

Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Amount: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=0.5)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Range: TypeAlias = tuple[Count, Count]
# The last two have bounds far above what is of use: they keep infinity out, which a comparison with 0 lets in.
Rate: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=10)]
Weight: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1000)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the recipe; a misspelt key would silently leave a default, so it is refused."""


class Model(_Part, frozen=True, kw_only=True):
    """[model]: the network."""

    backbone: Backbone = "mobilenet-v2"
    alpha: float = 0.35  # width, one of ALPHAS
    height: int = 224  # pixels of one tile, a multiple of 32
    width: int = 224  # likewise
    level: Level = "stride-32"  # the features that the head sees: the last, finer ones, or the sum of both maps
    dropout: Share = 0.2  # share of the features that a training step does not see

    def __post_init__(self) -> None:
        """Refuse a model that cannot be built; raises ValueError."""
        if self.alpha not in ALPHAS[self.backbone]:
            known = ", ".join(f"{alpha:g}" for alpha in ALPHAS[self.backbone])
            raise ValueError(f"alpha {self.alpha:g} is not one of {known}")
        for name, side in (("height", self.height), ("width", self.width)):
            if side > MAX_SIDE:
                raise ValueError(f"{name} {side} is above the {MAX_SIDE} pixels that a device takes")
            if side % STRIDE or side < STRIDE:
                raise ValueError(f"{name} {side} is not a multiple of {STRIDE}, such as 96, 128, 160, 192 or 224")


class Augmentation(_Part, frozen=True, kw_only=True):
    """[augmentation]: how pictures vary while training, drawn anew for every picture; 0 or false is off.

    A label is of the whole picture, so a view that lost the defect teaches a lie. The defaults are for damage that
    covers 0.3% of the picture, 12 pixels of 224 a side: they take a point out of one view in 250, and soften no more
    than a lens does.
    """

    mirror: bool = True  # left-right, every second picture
    quarter_turns: bool = True  # 0, 90, 180 or 270 degrees; on pictures that are not square 0 or 180
    # Degrees at most, each way, besides the quarter turns. The corners leave the picture, and what was a pore there
    # is gone; reflection fills the others. Turn it on for parts that lie at any angle.
    rotate: Annotated[float, msgspec.Meta(ge=0, le=180)] = 0.0
    # Cut off or added (reflected) at most, of each axis by itself: nearer and farther, shift and aspect in one.
    # Cutting loses what lies at the edge: these two lose a point in 0.4% of the views, crop 0.15 alone in 14%.
    crop: Amount = 0.02
    pad: Amount = 0.08
    # Light bends the levels rather than clip them: black and white stay, and so does a pit in a highlight.
    brightness: Amount = 0.1  # of the full range that a level moves at most, each way
    contrast: Amount = 0.15  # steeper or flatter about mid-grey by at most this share
    temperature: Amount = 0.02  # of the full range: red up and blue down by at most this much, or the other way
    noise: Annotated[float, msgspec.Meta(ge=0, le=0.1)] = 0.02  # standard deviation at most, of the full range
    # Gaussian's standard deviation at most, pixels of the canvas, on every second picture: at 0.5 a scratch one pixel
    # wide keeps 0.8 of its contrast, at 1 less than half.
    blur: Annotated[float, msgspec.Meta(ge=0, le=8)] = 0.5
    jpeg: Share = 0.1  # of the pictures that go through JPEG at a quality of 50 to 95
    resampler: Share = 0.25  # of the pictures that another kernel resizes first, as a camera's scaler does
    # Of the pictures with a rectangle of grey or of their mean colour. It hides a small defect as often as its area
    # says and the label stays: for classes that show all over the picture.
    occlusion: Share = 0.0
    occlusion_area: Amount = 0.05  # of the picture that the rectangle covers at most


class Loss(_Part, frozen=True, kw_only=True):
    """[loss]: what training makes small."""

    label_smoothing: Amount = 0.05  # keeps the logits' range small, which int8 resolves better
    class_balance: Share = 0.5  # 0: each picture weighs the same, 1: each class does; between: powers of the frequency
    focal_gamma: Annotated[float, msgspec.Meta(ge=0, le=5)] = 0.0  # 0: cross-entropy; 2: hard pictures weigh more
    mixup: Amount = 0.0  # Beta(mixup, mixup) of two pictures, or of their features
    l1: Weight = 0.0  # times the sum of the head's absolute weights
    l2: Weight = 0.0  # times the sum of the head's squared weights
    weight_decay: Weight = 1e-4  # AdamW's, times the learning rate; kernels only


class _Plan(_Part, frozen=True, kw_only=True):
    """What every stage of the training has; those that follow have defaults of their own."""

    epochs: Range  # fewest and most rounds over the data
    patience: Share = 0.5  # of the epochs without a better validation before it ends early
    averaging: Share = 0.25  # of the last epochs whose weights are averaged and tried as one more epoch; 0: none

    def __post_init__(self) -> None:
        """Refuse a range that is upside down; raises ValueError."""
        _refuse_upside_down("epochs", self.epochs)


class Stage(_Plan, frozen=True, kw_only=True):
    """One stage, nothing left open. Counts of pictures are with repetition: small sets get more epochs."""

    pictures: Count  # seen in all, within `epochs`
    rate: Rate  # peak learning rate; warmed up, then a cosine to 0


class Head(_Plan, frozen=True, kw_only=True):
    """[head]: the head by itself, on the frozen network's features."""

    pictures: Count = 80_000
    epochs: Range = (20, 60)
    rate: Rate | None = None  # None: as suits the pooling, see `Recipe.head_plan`


class Tuning(Stage, frozen=True, kw_only=True):
    """A stage that a model can do without."""

    pictures: Annotated[int, msgspec.Meta(ge=0)]  # as above; 0 leaves the stage out


class Top(Tuning, frozen=True, kw_only=True):
    """[top]: the head and the blocks below it learn together."""

    pictures: Annotated[int, msgspec.Meta(ge=0)] = 12_000
    epochs: Range = (4, 30)
    rate: Rate = 3e-4  # 1e-3 diverged
    blocks: Count = 4  # how many; the frozen part ends below them


class All(Tuning, frozen=True, kw_only=True):
    """[all]: everything but batch normalisation, only if [top] helped and validation still has mistakes.

    A picture costs some 25 ms at 224 pixels on two cores, so that a set of up to 2,000 takes a minute at most;
    at 736x544 eight times as long.
    """

    pictures: Annotated[int, msgspec.Meta(ge=0)] = 2_000
    epochs: Range = (1, 4)
    rate: Rate = 5e-5


class Scratch(Stage, frozen=True, kw_only=True):
    """[scratch]: everything at once, without weights to start from."""

    pictures: Count = 130_000
    epochs: Range = (10, 60)
    rate: Rate = 5e-3


class Features(_Part, frozen=True, kw_only=True):
    """[features]: what the frozen base gives is computed once for each variant of a picture and kept on disk."""

    pictures: Count = 6_000  # variants of pictures in all, within `passes`
    passes: Range = (2, 32)  # fewest and most variants of each picture, the plain one included

    def __post_init__(self) -> None:
        """Refuse a range that is upside down; raises ValueError."""
        _refuse_upside_down("passes", self.passes)


def _refuse_upside_down(name: str, limits: Range) -> None:
    if limits[0] > limits[1]:
        raise ValueError(f"{name} {limits[0]} to {limits[1]} is upside down")


class Recipe(_Part, frozen=True, kw_only=True):
    """A whole recipe; every table and key may be left out."""

    model: Model = Model()
    preprocess: PreprocessSpec = PreprocessSpec()
    pooling: Pooling = Mean()
    augmentation: Augmentation = Augmentation()
    loss: Loss = Loss()
    # Pictures a step, at most: an eighth of a small set, but 16 at least, and of large pictures no more than
    # training/network/memory.py lets a step hold; report.json has what each stage took.
    batch: Count = 64
    warm_up: Share = 0.1  # share of each stage's steps until the peak learning rate
    features: Features = Features()
    head: Head = Head()
    top: Top = Top()
    all: All = All()
    scratch: Scratch = Scratch()
    scratch_momentum: Share = 0.9  # of the moving statistics; a longer memory lags behind weights that move fast

    def __post_init__(self) -> None:
        """Refuse tiles that cover more than a device takes; raises ValueError."""
        _ = self.canvas

    @property
    def canvas(self) -> tuple[int, int]:
        """(height, width) in pixels of what one region is resized to: one tile, or what all tiles cover."""
        return self.preprocess.tiles.canvas(self.model.height, self.model.width)

    @property
    def head_plan(self) -> Stage:
        """How the head learns: at the recipe's rate, or else at one that suits its pooling."""
        # A head that looks for the places that stand out finds none for hundreds of steps at the mean's rate.
        suiting = 3e-3 if isinstance(self.pooling, Mean) else 1e-2
        return Stage(**{**msgspec.structs.asdict(self.head), "rate": self.head.rate or suiting})

    @property
    def is_whole(self) -> bool:
        """Whether a region is one tile and its mean, so that the graph's own logits are the verdict's."""
        return self.preprocess.tiles.count == 1 and isinstance(self.pooling, Mean)

    def plain(self) -> dict[str, Any]:
        """Return plain values for report.json and for keys: what was done, the head's rate among it."""
        return {**msgspec.to_builtins(self), "head": msgspec.to_builtins(self.head_plan)}


def read(path: Path) -> Recipe:
    """Read a recipe's TOML file; raises ConfigError naming the file, the key and the remedy."""
    from edge.config import read_text

    try:
        table = tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such recipe; write one or leave --recipe out") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return parse(table, str(path))


def parse(table: dict[str, Any], where: str) -> Recipe:
    """Make a recipe of parsed TOML (or a report's JSON); `where` names it in errors. Raises ConfigError."""
    from edge.config_errors import explain, unknown_keys

    try:
        return msgspec.convert(table, Recipe)
    except msgspec.ValidationError as error:
        problem = next(unknown_keys(table, Recipe), None) or explain(str(error), table, Recipe)
        raise ConfigError(f"{where}: {problem}") from error
