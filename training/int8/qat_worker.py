"""`python -m training.int8.qat_worker FOLDER`: trains a plan with int8's rounding in it, and converts it.

In the folder lie plan.json, weights.npz, pixels.npy (uint8, as large as the model's input), job.json and, if the
pictures' classes are known, truth.npy; model.tflite is put there. Stdout has one JSON object a line:
{"step": 3, "of": 90, "note": "..."}.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import tensorflow as tf
import tf_keras

from training.data.augment import augment
from training.int8 import fake_quant, plan
from training.int8.equalize import equalize
from training.recipe import Augmentation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from edge.contract.preprocess import Pixels
    from training.int8.plan import Arrays, Plan

_MEASURED = 256
"""Pictures that the ranges are measured on at first."""
_WARM_UP = 0.1
_REPORTS = 20


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """job.json: how to train."""

    seed: int
    pictures: int  # seen in all, with repetition
    batch: int
    rate: float  # peak learning rate
    augmentation: Augmentation


def main(folder: Path) -> int:
    """Do the whole job; raises what TensorFlow raises."""
    # Libraries may print what they like: only reports go to the real stdout.
    reports = os.dup(1)
    os.dup2(2, 1)
    job = msgspec.json.decode((folder / "job.json").read_bytes(), type=Job)
    network, arrays = plan.read(folder)
    pixels, known = np.load(folder / "pixels.npy", mmap_mode="r"), folder / "truth.npy"
    truth = np.load(known) if known.exists() else None
    tf_keras.utils.set_random_seed(job.seed)
    teacher = fake_quant.build(network, arrays, quantized=False)
    rows = np.random.default_rng(job.seed).permutation(len(pixels))[:_MEASURED]
    student = _student(network, arrays, teacher, [pixels[row] for row in np.sort(rows)], job)
    for report in _train(student, _loss(student, teacher, network), (pixels, truth), job):
        os.write(reports, f"{json.dumps(report)}\n".encode())
    (folder / "model.tflite").write_bytes(_convert(student, network))
    return 0


def _student(network: Plan, arrays: Arrays, teacher: Any, sample: Sequence[Pixels], job: Job) -> Any:
    """Return the network with int8's rounding, its channels evened out, its ranges measured."""
    found = fake_quant.measure(teacher, sample, job.batch)
    largest = {name: np.maximum(np.abs(low), np.abs(high)) for name, (low, high) in found.items()}
    even = equalize(network, arrays, largest)
    found = fake_quant.measure(fake_quant.build(network, even, quantized=False), sample, job.batch)
    student = fake_quant.build(network, even, quantized=True)
    fake_quant.set_ranges(student, {name: (float(low.min()), float(high.max())) for name, (low, high) in found.items()})
    return student


def _loss(student: Any, teacher: Any, network: Plan) -> Callable[[Any, Any], Any]:
    """Return a function from normalised pixels and classes to the mean loss of a batch, in nats.

    It is small if the student says of each place and of the whole picture what the teacher says, and, where the
    classes are known (not -1), what is true.
    """
    names = [network.outputs[output] for output in ("logits", "logit_map")]

    def loss(inputs: Any, labels: Any) -> Any:
        """Return what a batch of inputs, float32 [n, h, w, 3], costs: a scalar, in nats."""
        expected, found = teacher(inputs, training=False), student(inputs, training=True)
        imitation = [
            tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(expected[name]), found[name]))
            for name in names
        ]
        known = tf.cast(labels >= 0, tf.float32)
        wrong = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels, 0), found[names[0]])
        return tf.add_n([*imitation, tf.reduce_mean(known * wrong)])

    return loss


def _train(
    student: Any, loss: Callable[[Any, Any], Any], data: tuple[Any, npt.NDArray[np.int64] | None], job: Job
) -> Iterator[dict[str, Any]]:
    """Teach the rounded network, Adam with warm-up and cosine; yields a report after each step."""
    (pixels, truth), rng = data, np.random.default_rng(job.seed)
    steps = max(1, job.pictures // job.batch)
    warm_up = max(1, round(_WARM_UP * steps))
    rate = tf_keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=job.rate, warmup_steps=warm_up
    )
    optimizer = tf_keras.optimizers.Adam(rate)
    # The wrapper lists a kernel twice: as its own and as the layer's.
    variables = list({id(variable): variable for variable in student.trainable_variables}.values())

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(inputs: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(inputs, labels)
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables, strict=True))
        return value

    losses = []
    for number in range(steps):
        rows = rng.integers(len(pixels), size=job.batch)
        labels = np.full(len(rows), -1) if truth is None else truth[rows]
        losses.append(float(step(augment(pixels[rows], job.augmentation, rng), labels)))
        note = f"loss {np.mean(losses[-_REPORTS:]):.3f}" if number % max(1, steps // _REPORTS) == 0 else ""
        yield {"step": number + 1, "of": steps, "note": note}
    # The weights' ranges are those of the last forward pass: once more, after the last step.
    student(augment(pixels[rows], job.augmentation, rng), training=True)


def _convert(student: Any, network: Plan) -> bytes:
    spec = tf.TensorSpec([1, *network.shape], tf.float32, name="pixels")

    def outputs(pixels: Any) -> dict[str, Any]:
        values = student(pixels, training=False)
        return {output: values[name] for output, name in network.outputs.items()}

    graph = tf.function(outputs).get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
