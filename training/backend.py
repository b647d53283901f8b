"""Starts TensorFlow: quietly, seeded, or with one clear line if it is not installed."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from edge.errors import RuntimeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

_WARNING_LEVEL = "2"
"""Of TF_CPP_MIN_LOG_LEVEL: errors are still shown."""


def start(seed: int) -> None:
    """Import TensorFlow and Keras and seed Python's, NumPy's and TensorFlow's generators.

    Raises RuntimeUnavailableError if TensorFlow is not installed or does not load.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _WARNING_LEVEL)
    try:
        with quiet():
            import keras
            import tensorflow as tf

            tf.get_logger().setLevel(logging.ERROR)
            tf.config.list_logical_devices()
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"training needs TensorFlow ({error}): pip install 'edge-inspect[training]'"
        ) from error
    keras.utils.set_random_seed(seed)


def several(devices: Sequence[str] | None = None) -> AbstractContextManager[Any]:
    """Return the context to build and train a network in: its variables are mirrored if there are several GPUs.

    `devices`, such as "/gpu:0", name others. Each then takes its share of every batch. Call `start` first.
    """
    import tensorflow as tf

    found = list(devices or [device.name for device in tf.config.list_logical_devices("GPU")])
    context: AbstractContextManager[Any] = nullcontext()
    if len(found) > 1:
        context = tf.distribute.MirroredStrategy(found).scope()
    return context


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what TensorFlow's C++ side prints whatever its log level is; show it if the work fails."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
