"""The model bundle: what is wrong with it is said on one line before an interpreter sees a byte."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contract import bundle, signing, storage
from edge.contract.bundle import Bundle, Dataset, Label, Manifest
from edge.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = Manifest(
    name="test",
    created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    code_version="1",
    labels=(Label(name="good", verdict="PASS"), Label(name="bad", verdict="DEFECT")),
    dataset=Dataset(sha256="0" * 64, pictures=2, seed=1),
    metrics={"accuracy": 0.5},
)
FILES = {"model.tflite": bytes(range(200)), "golden/0.png": b"picture", "golden/expected.json": b"{}"}


def raw_manifest(**changes: Any) -> dict[str, Any]:
    """The manifest as JSON data, with top-level fields changed, or left out where they are None."""
    listed = msgspec.structs.replace(MANIFEST, files={"model.tflite": hashlib.sha256(b"m").hexdigest()})
    data: dict[str, Any] = msgspec.to_builtins(listed) | changes
    return {key: value for key, value in data.items() if value is not None}


@pytest.fixture(params=["b", "b.zip"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Where a folder and where a zip goes."""
    return tmp_path / str(request.param)


def test_what_is_written_is_read(path: Path) -> None:
    """Folder and zip give back manifest and files; hashes and the bundle's own are right."""
    written = bundle.write(path, MANIFEST, FILES)
    found = bundle.read(path)
    assert found == written
    assert found.files == FILES
    assert found.model == FILES["model.tflite"]
    assert found.model_sha256 == hashlib.sha256(found.model).hexdigest()
    assert found.manifest == msgspec.structs.replace(MANIFEST, files=found.manifest.files)
    assert list(path.parent.iterdir()) == [path]


def test_the_same_bundle_is_the_same_zip(tmp_path: Path) -> None:
    """Two writes of one content are equal byte by byte."""
    for name in ("a.zip", "b.zip"):
        bundle.write(tmp_path / name, MANIFEST, FILES)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_missing_bundle_names_its_maker(tmp_path: Path) -> None:
    """Neither path nor link target there: the error says what would build one."""
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for name in ("gone", "gone.zip", "link"):
        with pytest.raises(BundleError, match=rf"{name}: no such bundle; build one with edge-train build"):
            bundle.read(tmp_path / name)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """A text, an empty folder and an empty zip are each refused by name."""
    (tmp_path / "text").write_text("no zip")
    (tmp_path / "empty").mkdir()
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    for name, reason in [("text", "neither a bundle folder"), ("empty", "missing"), ("empty.zip", "missing")]:
        with pytest.raises(BundleError, match=reason):
            bundle.read(tmp_path / name)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    """Each file of a folder that is gone is named."""
    bundle.write(tmp_path / "b", MANIFEST, FILES)
    (tmp_path / "b" / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing from the bundle"):
        bundle.read(tmp_path / "b")


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(tmp_path: Path, name: str) -> None:
    """Each file of a folder that lost its last byte is named as damaged."""
    bundle.write(tmp_path / "b", MANIFEST, FILES)
    (tmp_path / "b" / name).write_bytes(FILES[name][:-1])
    with pytest.raises(BundleError, match=f"{name} is damaged: its SHA-256"):
        bundle.read(tmp_path / "b")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """One bundle as folder and as zip, for tests that damage copies of them."""
    folder = tmp_path_factory.mktemp("originals")
    return {name: bundle.write(folder / name, MANIFEST, FILES) for name in ("b", "b.zip")}


@settings(max_examples=200)
@given(st.sampled_from(["manifest.json", *FILES]), st.data())
def test_any_changed_byte_is_found(originals: dict[str, Bundle], name: str, data: st.DataObject) -> None:
    """A changed byte in any file is a BundleError, but for one that leaves the manifest's meaning as it is."""
    original = originals["b"]
    target = original.path / name
    whole = target.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytes([data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))])
    target.write_bytes(whole[:at] + changed + whole[at + 1 :])
    try:
        found = bundle.read(original.path)
    except BundleError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        # The JSON is not protected against itself: that is what the signature is for.
        assert name == "manifest.json"
        assert found.files == FILES
        assert found.sha256 != original.sha256
    finally:
        target.write_bytes(whole)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_zip_raises_nothing_else(originals: dict[str, Bundle], data: st.DataObject) -> None:
    """A zip cut off or with any bytes changed gives the same files or a BundleError, never another exception."""
    raw = bytearray(originals["b.zip"].path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    damaged = originals["b.zip"].path.with_name("damaged.zip")
    damaged.write_bytes(raw[: data.draw(st.sampled_from([len(raw), len(raw) // 2, len(raw) - 1]))])
    try:
        found = bundle.read(damaged)
    except BundleError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert found.files == FILES


@settings(max_examples=300)
@given(st.binary(max_size=100))
def test_random_bytes_are_no_manifest(raw: bytes) -> None:
    """Whatever bytes the manifest is, only BundleError is raised."""
    with pytest.raises(BundleError):
        bundle.parse_manifest(raw)


TEXT = st.text('aZ0_-./\\"\n\0ä\ud800', max_size=8)
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


def test_a_deeply_nested_manifest_is_refused() -> None:
    """Nesting that would exhaust the stack is a BundleError."""
    with pytest.raises(BundleError):
        bundle.parse_manifest(b'{"name":' + b"[" * 500_000)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, r"Invalid enum value 2 - at `\$\.format`"),
        ({"preprocess": {"version": 2}}, r"Invalid enum value 2 - at `\$\.preprocess\.version`"),
        ({"preprocess": {"mode": "stretch"}}, "Invalid enum value 'stretch'"),
        ({"preprocess": {"resampler": "bicubic"}}, "Invalid enum value 'bicubic'"),
        ({"preprocess": {"gamma": 2.2}}, "unknown field `gamma`"),
        ({"threshold": 0.5}, "unknown field `threshold`"),
        ({"labels": [{"name": "good", "verdict": "PASS"}]}, "length >= 2"),
        ({"labels": [{"name": "a", "verdict": "PASS"}, {"name": "a", "verdict": "DEFECT"}]}, "'a' stands 2 times"),
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


def test_links_and_pipes_cannot_leave_the_bundle(tmp_path: Path) -> None:
    """A file that is a link out of the folder, a link to itself, a folder or a pipe is refused, and nothing hangs."""
    secret = tmp_path / "secret"
    secret.write_bytes(FILES["model.tflite"])
    folder = bundle.write(tmp_path / "b", MANIFEST, FILES).path
    model = folder / "model.tflite"
    for make, reason in [
        (lambda: model.symlink_to(secret), "points outside the bundle"),
        (lambda: model.symlink_to(model), r"model\.tflite (cannot be read|is missing)"),
        (lambda: os.mkfifo(model), "is no plain file"),
    ]:
        model.unlink()
        make()
        with pytest.raises(BundleError, match=reason):
            bundle.read(folder)
    model.unlink()
    model.mkdir()
    with pytest.raises(BundleError, match="is no plain file"):
        bundle.read(folder)


def zip_of(path: Path, *entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small zip that unpacks to more than the limit is refused, whatever size its directory claims."""
    monkeypatch.setattr(bundle, "MAX_BUNDLE_BYTES", 1 << 20)
    bomb = bytes(16 << 20)
    listed = {"model.tflite": hashlib.sha256(bomb).hexdigest()}
    path = zip_of(
        tmp_path / "b.zip", ("manifest.json", json.dumps(raw_manifest(files=listed)).encode()), ("model.tflite", bomb)
    )
    assert path.stat().st_size < 50_000
    with pytest.raises(BundleError, match=r"model\.tflite is larger than the 1048576 bytes"):
        bundle.read(path)
    lying = path.read_bytes().replace(len(bomb).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(lying)
    with pytest.raises(BundleError, match=r"model\.tflite"):
        bundle.read(path)


def test_many_files_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is on the sum: many files below it cannot fill the memory."""
    monkeypatch.setattr(bundle, "MAX_BUNDLE_BYTES", 1000)
    files = {"model.tflite": bytes(400), "a": bytes(400), "b": bytes(400)}
    with pytest.raises(BundleError, match=r"model\.tflite is larger than the 200 bytes that are left"):
        bundle.write(tmp_path / "b", MANIFEST, files)


def test_a_huge_manifest_is_refused(tmp_path: Path) -> None:
    """A manifest above 1 MiB is not parsed."""
    path = zip_of(tmp_path / "b.zip", ("manifest.json", b" " * (2 << 20)))
    with pytest.raises(BundleError, match=r"manifest\.json is larger"):
        bundle.read(path)


def test_other_packing_methods_are_refused(tmp_path: Path) -> None:
    """LZMA and bzip2 entries are refused without starting their decoders."""
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        path = zip_of(tmp_path / f"{method}.zip", ("manifest.json", b"{}"), method=method)
        with pytest.raises(BundleError, match="neither stored nor deflated"):
            bundle.read(path)


def test_an_older_bundle_is_replaced(path: Path) -> None:
    """A second write leaves only the second bundle, none of the first one's files."""
    bundle.write(path, MANIFEST, {**FILES, "old": b"old"})
    bundle.write(path, msgspec.structs.replace(MANIFEST, name="second"), FILES)
    assert bundle.read(path).manifest.name == "second"
    assert bundle.read(path).files == FILES
    assert not (path.is_dir() and (path / "old").exists())
    assert list(path.parent.iterdir()) == [path]


def test_a_damaged_bundle_is_replaced_too(path: Path) -> None:
    """An unreadable bundle is no reason to refuse a good one in its place."""
    bundle.write(path, MANIFEST, FILES)
    if path.is_dir():
        (path / "model.tflite").write_bytes(b"")
    bundle.write(path, MANIFEST, FILES)
    assert bundle.read(path).files == FILES


def test_a_failed_write_leaves_the_older_bundle(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails in the middle, or between the two renames, leaves the older bundle and no litter."""
    older = bundle.write(path, MANIFEST, FILES)

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("_sync", "Path.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(f"{storage.__name__}.{name}", full if name == "_sync" else lambda *_: full(None))
            with pytest.raises(OSError, match="No space left"):
                bundle.write(path, msgspec.structs.replace(MANIFEST, name="second"), FILES)
        assert bundle.read(path) == older
        assert list(path.parent.iterdir()) == [path]


def test_nothing_but_a_bundle_is_overwritten(tmp_path: Path) -> None:
    """A file, another zip, a folder of pictures and a web page's folder with its manifest.json are left alone."""
    (tmp_path / "file").write_text("mine")
    zip_of(tmp_path / "photos.zip", ("a.jpg", b""))
    (tmp_path / "text.zip").write_text("mine")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "manifest.json").touch()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for name in ("file", "photos.zip", "text.zip", "photos", "page", "link"):
        with pytest.raises(BundleError, match=f"{name} exists and is not a bundle: choose another --out"):
            bundle.write(tmp_path / name, MANIFEST, FILES)
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    bundle.write(tmp_path / "empty", MANIFEST, FILES)


def test_files_that_read_would_refuse_are_not_written(tmp_path: Path) -> None:
    """A name outside the rules, a missing model and a score that is no number never reach the disk."""
    for manifest, files in [
        (MANIFEST, {**FILES, "../x": b""}),
        (MANIFEST, {"golden/0.png": b""}),
        (msgspec.structs.replace(MANIFEST, metrics={"accuracy": float("nan")}), FILES),
    ]:
        with pytest.raises(BundleError):
            bundle.write(tmp_path / "b", manifest, files)
        assert list(tmp_path.iterdir()) == []


def signed(path: Path) -> tuple[Bundle, str]:
    """A signed bundle and the public half of its key."""
    key = signing.load_key(signing.generate_key())
    return bundle.write(path, MANIFEST, FILES, signing_key=key), signing.public_text(key)


def test_a_trusted_signature_is_accepted(path: Path) -> None:
    """One of several trusted keys is enough; without trusted keys nobody asks."""
    _, public = signed(path)
    _, other = signed(path.with_name(f"other-{path.name}"))
    assert bundle.read(path, trusted_keys=[other, public]).files == FILES
    assert bundle.read(path).files == FILES


def test_other_signatures_are_refused(tmp_path: Path) -> None:
    """No signature, one by a stranger, and one over a manifest that was changed afterwards are refused."""
    written, public = signed(tmp_path / "b")
    _, stranger = signed(tmp_path / "other")
    with pytest.raises(BundleError, match="not by any of trusted_keys"):
        bundle.read(written.path, trusted_keys=[stranger])
    manifest = written.path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"defect_at": 0.5', b'"defect_at": 0.9'))
    assert bundle.read(written.path).manifest.thresholds.defect_at == 0.9
    with pytest.raises(BundleError, match="not by any of trusted_keys"):
        bundle.read(written.path, trusted_keys=[public])
    (written.path / "manifest.sig").unlink()
    with pytest.raises(BundleError, match=r"manifest\.sig is missing"):
        bundle.read(written.path, trusted_keys=[public])


def test_a_key_that_is_none_is_a_config_error(path: Path) -> None:
    """A trusted key that cannot be read is the configuration's fault, not the bundle's."""
    signed(path)
    with pytest.raises(ConfigError, match="'nonsense' is not base64"):
        bundle.read(path, trusted_keys=["nonsense"])


def test_a_zip_of_a_folder_made_by_hand_is_read(tmp_path: Path) -> None:
    """`shutil.make_archive`, as `zip -r` in the folder, makes a bundle of it."""
    bundle.write(tmp_path / "b", MANIFEST, FILES)
    archive = shutil.make_archive(str(tmp_path / "made"), "zip", tmp_path / "b")
    assert bundle.read(tmp_path / "made.zip").files == FILES
    assert zipfile.ZipFile(io.BytesIO((tmp_path / archive).read_bytes())).namelist()
