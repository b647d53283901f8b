"""Folders and zips: none leads out, fills the memory or hangs; what is written spoils nothing."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from typing import TYPE_CHECKING

import msgspec
import pytest
from bundle_samples import FILES, MANIFEST, raw_manifest, zip_of

from edge.contract import bundle, storage
from edge.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["b", "b.zip"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Where a folder and where a zip goes."""
    return tmp_path / str(request.param)


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


def test_what_lies_in_a_small_files_place_gives_way(tmp_path: Path) -> None:
    """A pipe or a link where a file is replaced, or where its next form is written, leads nobody astray."""
    path, fresh, secret = tmp_path / "kept.json", tmp_path / "kept.json.new", tmp_path / "secret"
    secret.write_bytes(b"secret")
    for place in (path, fresh):
        for make in (os.mkfifo, lambda each: each.symlink_to(secret)):
            place.unlink(missing_ok=True)
            make(place)
            if place.is_fifo():
                with pytest.raises(OSError, match=f"{place} is no plain file; move it away"):
                    storage.read_plain(place, 10)
            reader = os.open(place, os.O_RDONLY | os.O_NONBLOCK)  # Else who writes to it would wait here for ever.
            storage.replace_file(path, b"data")
            os.close(reader)
            assert storage.read_plain(path, 2) == b"da"
            assert not fresh.exists()
    assert secret.read_bytes() == b"secret"


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


def test_a_zip_by_another_name_is_replaced_by_a_folder(tmp_path: Path) -> None:
    """A bundle that was zipped under a name without .zip makes room for the folder that this name means."""
    bundle.write(tmp_path / "b.zip", MANIFEST, FILES)
    (tmp_path / "b.zip").rename(tmp_path / "b")
    bundle.write(tmp_path / "b", MANIFEST, FILES)
    assert (tmp_path / "b").is_dir()
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


def test_a_failed_write_leaves_the_older_bundle(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails in the middle, or between the two renames, leaves the older bundle and no litter."""
    older = bundle.write(path, MANIFEST, FILES)

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("sync", "Path.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(f"{storage.__name__}.{name}", full if name == "sync" else lambda *_: full(None))
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


def test_a_small_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its data is on the disk before its name is, and its name before `replace_file` returns; nothing else is left."""
    path, done = tmp_path / "state.json", []
    sync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        done.append("folder" if os.path.samestat(os.fstat(descriptor), tmp_path.stat()) else "file")
        sync(descriptor)

    def note_replace(*places: str) -> None:
        done.append("name")
        replace(*places)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    for data in (b"first", b"2"):
        storage.replace_file(path, data)
        assert path.read_bytes() == data
    assert done == ["file", "name", "folder"] * 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_a_small_file_as_it_was(little: Path) -> None:
    """What does not fit raises OSError, and takes no room that others need."""
    path = little / "state.json"
    storage.replace_file(path, b"first")
    with pytest.raises(OSError, match="No space"):
        storage.replace_file(path, bytes(20 << 20))
    assert path.read_bytes() == b"first"
    assert list(little.iterdir()) == [path]
