"""How a model is made: every hyper-parameter in one place, saved with the result."""

from __future__ import annotations

from dataclasses import dataclass

from edge.contract.preprocess import MAX_SIDE
from edge.errors import ConfigError

IMAGENET = "imagenet"
"""Weights to start from: those that Keras downloads."""
ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
"""The widths that Keras has ImageNet weights for."""
STRIDE = 32
"""MobileNetV2 halves its input five times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The model and its training. Counts of pictures are with repetition, so small sets get more epochs."""

    # the model
    size: int = 224  # pixels, height and width; a multiple of 32
    alpha: float = 0.35  # width of MobileNetV2, one of ALPHAS
    dropout: float = 0.2  # share of the features that a training step does not see

    # every stage
    batch: int = 64  # pictures a step, at most; an eighth of a small set, but 16 at least
    weight_decay: float = 1e-4  # AdamW's, times the learning rate; kernels only
    label_smoothing: float = 0.05  # keeps the logits' range small, which int8 resolves better
    warm_up: float = 0.1  # share of the steps until the peak learning rate; a cosine to 0 follows

    # pretrained: the frozen trunk's features are computed once, then the head, then the top blocks learn from them
    feature_pictures: int = 6_000  # variants of pictures whose features are kept, within feature_passes
    feature_passes: tuple[int, int] = (2, 32)  # fewest and most variants of each picture, the plain one included
    head_pictures: int = 80_000  # seen while the head converges
    head_epochs: tuple[int, int] = (20, 60)  # fewest and most rounds over the data
    head_rate: float = 3e-3  # peak learning rate of the head alone
    tune_pictures: int = 24_000  # seen while the top blocks are fine-tuned
    tune_epochs: tuple[int, int] = (6, 30)  # fewest and most rounds over the data
    tune_rate: float = 3e-4  # peak; 1e-3 diverged

    # from scratch: everything learns
    scratch_pictures: int = 130_000  # seen in all, within scratch_epochs
    scratch_epochs: tuple[int, int] = (10, 60)  # fewest and most rounds over the data
    scratch_rate: float = 5e-3  # peak learning rate
    scratch_momentum: float = 0.9  # of the moving statistics; a longer memory lags behind weights that move fast

    # augmentation, drawn anew for every picture
    mirror: bool = True  # left-right, every second picture
    quarter_turns: bool = True  # 0, 90, 180 or 270 degrees
    crop: float = 0.15  # cut off each axis at most, then enlarged again: shift, scale and aspect in one
    brightness: float = 0.1  # of the full range, at most, each way
    contrast: float = 0.15  # steeper or flatter by at most this share
    noise: float = 0.02  # standard deviation at most, of the full range

    def __post_init__(self) -> None:
        """Refuse a model that cannot be built; raises ConfigError."""
        if self.alpha not in ALPHAS:
            raise ConfigError(f"alpha {self.alpha:g} is not one of {', '.join(f'{a:g}' for a in ALPHAS)}")
        if self.size > MAX_SIDE:
            raise ConfigError(f"size {self.size} is above the {MAX_SIDE} pixels that a device takes")
        if self.size % STRIDE or self.size < STRIDE:
            raise ConfigError(f"size {self.size} is not a multiple of {STRIDE}, such as 96, 128, 160, 192 or 224")
