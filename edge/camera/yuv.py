"""The picture of a Raspberry Pi 4's `lores` stream, YUV420, as RGB. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edge.contract.preprocess import Pixels


def to_rgb(planes: Pixels, width: int, height: int) -> Pixels:
    """Return contiguous uint8 [height, width, 3] of planes Y, U, V, uint8 [height * 3 / 2, stride]. A copy.

    `width` and `height` are even; what is in a line behind them is padding, of which a line of U and V has half.
    The colours are sYCC, that is JPEG's (ITU-T T.871): BT.601 in its full range, which libcamera is asked for.
    Each U and V counts for the 2 x 2 pixels that share it.
    """
    from PIL import Image

    stride = planes.shape[1]
    colours = planes[height:].reshape(2, height // 2, stride // 2)[:, :, : width // 2]
    layers = [planes[:height, :width], *(plane.repeat(2, axis=0).repeat(2, axis=1) for plane in colours)]
    image = Image.merge("YCbCr", [Image.fromarray(np.ascontiguousarray(layer)) for layer in layers])
    return np.array(image.convert("RGB"))
