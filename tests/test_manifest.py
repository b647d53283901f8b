"""manifest.json: whatever is in it, it is understood wholly or refused by name."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from bundle_samples import raw_manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contract import bundle
from edge.contract.pooling import pool
from edge.contract.preprocess import MAX_SIDE, Tiles
from edge.errors import BundleError


@settings(max_examples=300)
@given(st.binary(max_size=100))
def test_random_bytes_are_no_manifest(raw: bytes) -> None:
    """Whatever bytes the manifest is, only BundleError is raised."""
    with pytest.raises(BundleError):
        bundle.parse_manifest(raw)


TEXT = st.text('aZ0_-./\\"\n\0ä\ud800', max_size=8)
SIDES = st.integers(1, 20).map(lambda cells: 32 * cells) | st.integers(1, MAX_SIDE)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from([*raw_manifest(), "other"]), JSON, max_size=3))
def test_nearly_valid_manifests_raise_nothing_else(changes: dict[str, Any]) -> None:
    """A manifest with any fields replaced by any JSON is read, and then can be written again, or a BundleError."""
    try:
        found = bundle.parse_manifest(json.dumps(raw_manifest() | changes).encode())
    except BundleError:
        return
    assert bundle.parse_manifest(msgspec.json.encode(found)) == found


TILES = st.dictionaries(
    st.sampled_from(["rows", "columns", "overlap", "gap"]),
    st.integers(-1, 10) | st.floats(-0.1, 0.6) | JSON,
    max_size=3,
)
POOLING = st.dictionaries(
    st.sampled_from(["kind", "share", "sharpness", "k"]),
    st.sampled_from(["mean", "top-k", "log-sum-exp", "max"]) | st.floats(-1, 200) | JSON,
    max_size=3,
)


@settings(max_examples=500)
@given(TILES | JSON, POOLING | JSON, st.tuples(SIDES, SIDES))
def test_any_tiles_and_pooling_are_understood_or_refused(tiles: Any, pooling: Any, size: tuple[int, int]) -> None:
    """Whatever JSON declares them: a BundleError, or tiles that fit a canvas (or say why not) and a known pooling."""
    raw = json.dumps(raw_manifest(preprocess={"tiles": tiles}) | {"pooling": pooling}).encode()
    try:
        found = bundle.parse_manifest(raw)
    except BundleError:
        return
    assert bundle.parse_manifest(msgspec.json.encode(found)) == found
    assert pool(np.zeros((3, 2), np.float32), found.pooling).tolist() == [0, 0]
    declared = found.preprocess.tiles
    try:
        whole = declared.canvas(*size)
    except ValueError:
        assert declared != Tiles()
    else:
        assert max(whole) <= MAX_SIDE
        assert len(declared.corners(*size)) == declared.rows * declared.columns <= 64


def test_a_deeply_nested_manifest_is_refused() -> None:
    """Nesting that would exhaust the stack is a BundleError."""
    with pytest.raises(BundleError):
        bundle.parse_manifest(b'{"name":' + b"[" * 500_000)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, r"Invalid enum value 2 - at `\$\.format`"),
        ({"labels": [{"name": name, "verdict": "PASS"} for name in ("a", "b")]}, "would pass every part"),
        ({"preprocess": {"version": 2}}, r"Invalid enum value 2 - at `\$\.preprocess\.version`"),
        ({"preprocess": {"mode": "stretch"}}, "Invalid enum value 'stretch'"),
        ({"preprocess": {"resampler": "bicubic"}}, "Invalid enum value 'bicubic'"),
        ({"preprocess": {"gamma": 2.2}}, "unknown field `gamma`"),
        ({"preprocess": {"tiles": {"rows": 9}}}, r"<= 8 - at `\$\.preprocess\.tiles\.rows`"),
        ({"preprocess": {"tiles": {"overlap": 0.6}}}, r"<= 0\.5 - at `\$\.preprocess\.tiles\.overlap`"),
        ({"preprocess": {"tiles": {"gap": 1}}}, "unknown field `gap`"),
        ({"pooling": {"kind": "max"}}, r"Invalid value 'max' - at `\$\.pooling\.kind`"),
        ({"pooling": {"kind": "top-k", "share": 0}}, r"> 0\.0 - at `\$\.pooling\.share`"),
        ({"threshold": 0.5}, "unknown field `threshold`"),
        ({"labels": [{"name": "good", "verdict": "PASS"}]}, "length >= 2"),
        ({"labels": [{"name": "a", "verdict": "PASS"}, {"name": "a", "verdict": "DEFECT"}]}, "'a' stands 2 times"),
        (
            {"labels": [{"name": "a\x1b[2J", "verdict": "PASS"}, {"name": "b", "verdict": "DEFECT"}]},
            "control characters",
        ),
        ({"labels": [{"name": "a", "verdict": "PASS"}, {"name": "b", "verdict": "FAIL"}]}, "Invalid enum value 'FAIL'"),
        ({"labels": None}, "missing required field `labels`"),
        ({"thresholds": {"pass_below": 0.6, "defect_at": 0.4}}, "pass_below 0.6 must not be above defect_at 0.4"),
        ({"thresholds": {"defect_at": 0}}, "> 0"),
        ({"temperature": 0}, ">= 0.01"),
        ({"created": "2026-01-02T03:04:05"}, "timezone"),
        ({"files": {}}, r"lists no model\.tflite; rebuild"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(changes: dict[str, Any], reason: str) -> None:
    """An unknown version, mode or field, bad labels and bad thresholds are each refused by name."""
    with pytest.raises(BundleError, match=reason):
        bundle.parse_manifest(json.dumps(raw_manifest(**changes)).encode())


@pytest.mark.parametrize(
    "name",
    [
        *("../model", "/etc/passwd", "a/../../b", "a//b", "./a", "a/.hidden", "", "a\\b", "a\0", "a\n"),
        *("manifest.json", "manifest.sig", "ä", "a/", "~", "C:a"),
    ],
)
def test_file_names_cannot_leave_the_bundle(name: str) -> None:
    """A listed name that is absolute, climbs, hides or is not plain ASCII is refused before anything is opened."""
    listed = raw_manifest()["files"] | {name: "0" * 64}
    with pytest.raises(BundleError, match="is not allowed in a bundle"):
        bundle.parse_manifest(json.dumps(raw_manifest(files=listed)).encode())
