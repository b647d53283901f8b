"""Golden frames: pictures in the bundle whose scores every device must give, whatever it computes with."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import msgspec

from edge.contract.json import NOT_JSON
from edge.errors import BundleError, DataError

if TYPE_CHECKING:
    from edge.classifier import Classifier
    from edge.contract.bundle import Bundle

GOLDEN = "golden/"
EXPECTED = "golden/expected.json"


def check_golden(classifier: Classifier, bundle: Bundle) -> int:
    """Judge the bundle's golden frames on this device's runtime and return how many there are.

    Raises BundleError if the frames are damaged, or a score is further off than the manifest's tolerance.
    """
    try:
        expected = msgspec.json.decode(bundle.files[EXPECTED], type=dict[str, dict[str, float]])
        for name, scores in expected.items():
            _check(classifier, name, bundle.files[GOLDEN + name], scores)
    except (*NOT_JSON, KeyError, DataError) as error:
        raise BundleError(f"{EXPECTED}: golden frames that cannot be used ({error}); rebuild the bundle") from error
    return len(expected)


def _check(classifier: Classifier, name: str, picture: bytes, scores: dict[str, float]) -> None:
    from edge.contract.pictures import load_picture

    manifest = classifier.bundle.manifest
    labels = [label.name for label in manifest.labels]
    if sorted(scores) != sorted(labels):
        raise BundleError(f"{EXPECTED}: {name} does not have a score for each label; rebuild the bundle")
    found = dict(zip(labels, classifier.classify(load_picture(BytesIO(picture))).scores.tolist(), strict=True))
    worst = max(abs(found[label] - scores[label]) for label in labels)
    if not worst <= manifest.golden_tolerance:  # Not `>`: a score that is not a number must fail too.
        raise BundleError(
            f"golden frame {name}: a score is {worst:.3g} off, more than {manifest.golden_tolerance:g}; "
            "this runtime computes the model wrongly: install another one"
        )
