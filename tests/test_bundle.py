"""The model bundle: what is wrong with it is said on one line before an interpreter sees a byte."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from typing import TYPE_CHECKING

import msgspec
import pytest
from bundle_samples import FILES, MANIFEST
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contract import bundle, signing
from edge.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from edge.contract.bundle import Bundle


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


def test_a_copy_is_the_whole_bundle(path: Path, tmp_path: Path) -> None:
    """Manifest and signature come along as they are; one that changed since it was read is not copied."""
    key = signing.load_key(signing.generate_key())
    read = bundle.write(path, MANIFEST, FILES, signing_key=key)
    copied = tmp_path / "copy"
    for name, data in bundle.content(read):
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / name).write_bytes(data)
    found = bundle.read(copied, trusted_keys=[signing.public_text(key)])
    assert (found.sha256, found.files) == (read.sha256, read.files)
    assert bundle.identify(copied) == bundle.identify(path) == read.sha256
    bundle.write(path, msgspec.structs.replace(MANIFEST, name="another"), FILES)
    with pytest.raises(BundleError, match="changed since it was read"):
        dict(bundle.content(read))


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
