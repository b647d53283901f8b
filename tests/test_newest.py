"""When a stream's packets, and the pictures in them, came: by their times alone."""

from __future__ import annotations

from edge.camera import newest


def test_what_came_after_a_picture_was_taken_after_it() -> None:
    """A B-frame comes behind a later picture: it was taken before that one came. A clock that is set back ends that."""
    arrived = newest.Arrived()
    for stamp, came in ((0, 0.0), (3, 0.1), (1, 0.2), (2, 0.3), (6, 0.4)):
        arrived.note(stamp, came)
    assert [arrived.at_latest(stamp) for stamp in (0, 1, 2, 3, 6)] == [0.0, 0.1, 0.1, 0.1, 0.4]
    assert arrived.at_latest(None) == arrived.at_latest(77) == 0.4
    for stamp in range(newest.MOST_HELD):
        arrived.note(stamp, 1.0 + stamp)
    assert arrived.at_latest(1) == 2.0
