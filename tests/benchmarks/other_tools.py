"""Let Google's own tools read our metadata and classify with our model, and compare what they say with what we say.

PYTHONPATH=tests python tests/benchmarks/other_tools.py PYTHON...    (each a Python with tflite-support or mediapipe)

They take models with a uint8 or float input and one output only: int8 in, and embedding and logit map beside the
logits, they refuse. So the pictures are classified by a copy of the demo's model with a QUANTIZE before and after the
same graph, and the logits as its only output; the metadata is shown of the model as it is.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from conftest import DEMO_BUNDLE
from PIL import Image

from edge.classifier import Classifier
from edge.contract import bundle as bundles
from edge.synthetic import LABELS, render
from training.int8 import metadata
from training.int8.sigmoid import Sigmoid

PICTURES = 100
SIGMOID = Sigmoid(slope=1.2, offset=-2.5)
"""Any will do: the question is whether they apply it."""
SIZE = 128
READER = """
import importlib.util, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
names = json.loads((folder / "names.json").read_text())
said = {}
if importlib.util.find_spec("tflite_support"):
    from tflite_support import metadata
    from tflite_support.task import vision
    shown = metadata.MetadataDisplayer.with_model_file(str(folder / "model.tflite"))
    said["metadata"] = json.loads(shown.get_metadata_json())
    said["files"] = {n: shown.get_associated_file_buffer(n).decode() for n in shown.get_packed_associated_file_list()}
    open_model, picture = vision.ImageClassifier.create_from_file, vision.TensorImage.create_from_file
else:
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision
    def open_model(path):
        return vision.ImageClassifier.create_from_options(
            vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=path)))
    picture = mediapipe.Image.create_from_file
try:
    open_model(str(folder / "model.tflite"))
except ValueError as error:
    said["refusal"] = str(error)
model = open_model(str(folder / "uint8.tflite"))
said["scores"] = [
    {one.category_name: one.score for one in model.classify(picture(str(folder / name))).classifications[0].categories}
    for name in names
]
if hasattr(model, "close"):
    model.close()
print(json.dumps(said))
"""


def main() -> None:
    """Print a line for each Python, and once what the official tool shows."""
    bundle = bundles.read(DEMO_BUNDLE)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "model.tflite").write_bytes(metadata.add(bundle.model, bundle.manifest, sigmoid=SIGMOID))
        (folder / "uint8.tflite").write_bytes(uint8_copy(bundle))
        ours = classify(bundle, folder)
        for python in sys.argv[1:]:
            said = ask(python, folder)
            pairs = list(zip(said["scores"], ours, strict=True))
            same = sum(max(theirs, key=theirs.__getitem__) == label for theirs, (label, _) in pairs)
            off = max(abs(theirs[name] - score) for theirs, (_, scores) in pairs for name, score in scores.items())
            print(f"{python}: the same class for {same} of {PICTURES}, scores off by {off:.1e} at most")
            print(f"  the model as it is: {said.get('refusal', 'accepted')}")
            show(said)


def ask(python: str, folder: Path) -> dict[str, Any]:
    """Run the reader by another Python, without this one's environment."""
    done = subprocess.run([python, "-c", READER, folder], capture_output=True, text=True, env={}, check=False)
    if done.returncode:
        sys.exit(f"{python}: {done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def show(said: dict[str, Any]) -> None:
    """Print what the official tool reads."""
    if "metadata" in said:
        (graph,) = said["metadata"]["subgraph_metadata"]
        print(f"  normalisation {graph['input_tensor_metadata'][0]['process_units'][0]['options']}")
        print(f"  outputs {[one['name'] for one in graph['output_tensor_metadata']]}")
        print(f"  labels {said['files']['labels.txt'].split()}")


def classify(bundle: bundles.Bundle, folder: Path) -> list[tuple[str, dict[str, float]]]:
    """Write pictures; return our class of each, and the sigmoid of our logits by class."""
    classifier = Classifier(bundle)
    said = []
    for index in range(PICTURES):
        pixels = render(9, index, height=SIZE, width=SIZE, label=LABELS[index % len(LABELS)]).pixels
        Image.fromarray(pixels).save(folder / f"{index}.png")
        found = classifier.classify(pixels)
        chance = [1 / (1 + math.exp(-(SIGMOID.slope * z + SIGMOID.offset))) for z in found.logits.tolist()]
        names = [label.name for label in bundle.manifest.labels]
        said.append((names[int(found.scores.argmax())], dict(zip(names, chance, strict=True))))
    (folder / "names.json").write_text(json.dumps([f"{index}.png" for index in range(PICTURES)]))
    return said


def uint8_copy(bundle: bundles.Bundle) -> bytes:
    """Return the model with uint8 at both ends and the logits alone, described the same way."""
    given, outputs = metadata._tensors(bundle.manifest, SIGMOID)
    with patch.object(metadata, "_tensors", lambda *_: (given, outputs[-1:])):
        data = np.frombuffer(metadata._model_metadata(bundle.manifest, SIGMOID), np.uint8)
    content = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bundle.model, 0))
    (graph,) = content.subgraphs
    code = schema.OperatorCodeT(
        deprecatedBuiltinCode=schema.BuiltinOperator.QUANTIZE, builtinCode=schema.BuiltinOperator.QUANTIZE, version=2
    )
    content.operatorCodes.append(code)
    quantize = len(content.operatorCodes) - 1
    picture, logits = graph.inputs[0], graph.outputs[-1]
    graph.inputs, graph.outputs = [_as_uint8(graph, picture)], [_as_uint8(graph, logits)]
    graph.operators.insert(0, _operator(quantize, graph.inputs[0], picture))
    graph.operators.append(_operator(quantize, logits, graph.outputs[0]))
    content.metadata.append(schema.MetadataT(b"TFLITE_METADATA", len(content.buffers)))
    content.buffers.append(schema.BufferT(data))
    return metadata._with_files(metadata._packed(content), metadata._files(bundle.manifest, SIGMOID))


def _as_uint8(graph: Any, index: int) -> int:
    """Add a uint8 tensor of the same values as an int8 one; return its index."""
    stored = graph.tensors[index]
    old = stored.quantization
    shifted = schema.QuantizationParametersT(scale=old.scale, zeroPoint=np.asarray(old.zeroPoint) + 128)
    tensor = schema.TensorT(
        shape=stored.shape, type=schema.TensorType.UINT8, name=stored.name + b"_uint8", quantization=shifted
    )
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _operator(code: int, given: int, made: int) -> Any:
    return schema.OperatorT(
        opcodeIndex=code,
        inputs=[given],
        outputs=[made],
        builtinOptionsType=schema.BuiltinOptions.QuantizeOptions,
        builtinOptions=schema.QuantizeOptionsT(),
    )


if __name__ == "__main__":
    main()
