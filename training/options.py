"""What one build is asked for, besides its pictures."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge.contract import bundle as bundles
from edge.errors import BundleError, ConfigError, DataError
from training.recipe import IMAGENET, Recipe

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from edge.errors import InspectError
    from training.evaluation.thresholds import Aim

_HIGHEST_SEED = 2**32 - 1
"""What NumPy's and TensorFlow's generators take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Checked as far as that is possible before hours of work."""

    out: Path
    """The bundle's folder, or its zip by the ending .zip; an older bundle there is replaced."""
    aim: Aim
    weights: str | None = IMAGENET
    """To start from: "imagenet" (downloaded), a .h5 file, or None: train from scratch."""
    seed: int = 1
    recipe: Recipe = field(default_factory=Recipe)
    auto_ms: float | None = None
    """Choose size, tiles, level and pooling within so many milliseconds a part; None: as the recipe says."""
    allow_drop: float = 0.01
    """Share of a class's recall, 0-1, that int8 may cost."""
    signing_key: Ed25519PrivateKey | None = None
    logs: Path | None = None
    """For TensorBoard: curves of every stage are written below this folder."""

    def __post_init__(self) -> None:
        """Refuse what would fail only after the training: raises BundleError, ConfigError or DataError."""
        bundles.refuse_overwrite(self.out)
        require_writable(_nearest(self.out.absolute().parent), f"--out {self.out}", BundleError)
        if self.logs is not None:
            require_writable(_nearest(self.logs.absolute()), f"--logs {self.logs}", ConfigError)
        require_seed(self.seed)
        if not 0 <= self.allow_drop < 1:
            raise ConfigError(f"--allow-drop {self.allow_drop:g} is not a share from 0 to below 1")
        require_weights(self.weights)
        if self.auto_ms is not None and self.weights is None:
            raise ConfigError("--auto compares features of a pretrained network: give --weights, or leave --auto out")


def require_seed(seed: int) -> None:
    """Raise ConfigError for what the generators do not take."""
    if not 0 <= seed <= _HIGHEST_SEED:
        raise ConfigError(f"--seed {seed} is not a number from 0 to {_HIGHEST_SEED}")


def require_weights(weights: str | None) -> None:
    """Raise DataError for a file that is not there."""
    if weights not in (None, IMAGENET) and not Path(str(weights)).is_file():
        raise DataError(f"--weights {weights}: no such file; or say {IMAGENET} to download, none to train from scratch")


def _nearest(path: Path) -> Path:
    """Return the path, or the nearest above it, that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def require_writable(folder: Path, option: str, kind: type[InspectError]) -> None:
    """Raise an error of this kind, naming the option, unless this user may write into the folder."""
    try:
        tempfile.TemporaryDirectory(dir=folder, prefix=".edge-train-").cleanup()
    except OSError as error:
        remedy = "choose a folder that you may write to"
        raise kind(f"{option}: {folder} cannot be written to ({error.strerror}); {remedy}") from error
