from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TRAIN_ON_TWO = """
import sys
from pathlib import Path
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tiny_parts import SIZE, make_folder, read_folder
from training import backend
from training.data.split import divide
from training.recipe import Model, Recipe, Scratch
backend.start(1)
from training.network import memory, model
memory._BYTES = 1  # One picture for each device.
from training.network.checkpoint import Run
from training.network.train import Trainer
parts = divide(read_folder(make_folder(Path(sys.argv[1]), each=12)), seed=1)
small = Model(backbone="residual", alpha=0.25, height=SIZE, width=SIZE)
recipe = Recipe(model=small, scratch=Scratch(pictures=1, epochs=(3, 3), rate=1e-3, patience=1), batch=16)
with backend.several(["/cpu:0", "/cpu:1"]):
    network = model.build(3, recipe, None)
    (stage,) = Trainer(network, parts, recipe, seed=1, run=Run("two")).from_scratch()
kernel = network.trunk.trainable_variables[0]._value
print(len(kernel.values), stage.loss[-1] < stage.loss[0])
"""


def test_several_devices_share_a_training(tmp_path: Path) -> None:
    """On two devices every weight has two mirrored copies, and the loss falls, though each holds one picture only."""
    command = [sys.executable, "-c", TRAIN_ON_TWO, str(tmp_path / "parts")]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    assert found.stdout.split() == ["2", "True"], found.stderr
