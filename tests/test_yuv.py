"""The planes of a Raspberry Pi 4's small stream as RGB."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.camera.yuv import to_rgb

TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
"""Y, Cb, Cr to R, G, B (ITU-T T.871), each Cb and Cr less 128."""


@given(
    data=st.data(),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    padding=st.integers(0, 5),
)
def test_any_planes_are_what_the_standard_says(data: st.DataObject, size: tuple[int, int], padding: int) -> None:
    """Within one level of rounding, for each size that is even, and whatever the padding holds."""
    width, height, stride = 2 * size[0], 2 * size[1], 2 * (size[0] + padding)
    planes = data.draw(arrays(np.uint8, (height * 3 // 2, stride)))
    rgb = to_rgb(planes, width, height)
    flat = planes.ravel()
    for row, column in ((0, 0), (height - 1, width - 1), (height // 2, width // 3)):
        at = row // 2 * (stride // 2) + column // 2
        u, v = (int(flat[height * stride + plane * height * stride // 4 + at]) - 128 for plane in (0, 1))
        expected = (TO_RGB @ [flat[row * stride + column], u, v]).clip(0, 255)
        assert np.abs(rgb[row, column] - expected).max() <= 1
    assert rgb.shape == (height, width, 3)
    assert rgb.flags.c_contiguous
    assert not np.shares_memory(rgb, planes)


def test_the_ends_of_the_range_are_black_and_white() -> None:
    """Y of 0 and of 255, not of 16 and 235: the range is the full one."""
    planes = np.full((3, 4), 128, np.uint8)
    planes[:2] = [[0, 255, 0, 0], [16, 235, 0, 0]]
    assert to_rgb(planes, 2, 2)[..., 0].tolist() == [[0, 255], [16, 235]]
