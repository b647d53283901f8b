from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tiny_parts import make_folder, run

from edge.errors import BundleError, ConfigError, DataError, RuntimeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def no_spots(data: Path) -> Sequence[object]:
    for path in (data / "spot").iterdir():
        path.unlink()
    return ()


def one_class(data: Path) -> Sequence[object]:
    for kind in ("scratch", "spot"):
        for path in (data / kind).iterdir():
            path.unlink()
        (data / kind).rmdir()
    return ()


def torn_picture(data: Path) -> Sequence[object]:
    (data / "spot" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    return ()


def two_labels(data: Path) -> Sequence[object]:
    (data / "spot" / "same.png").write_bytes((data / "intact" / "000.png").read_bytes())
    return ()


def leaked_test(data: Path) -> Sequence[object]:
    return ("--test-data", data)


def too_few(data: Path) -> Sequence[object]:
    for path in sorted((data / "spot").iterdir())[2:]:
        path.unlink()
    return ()


def damaged_weights(data: Path) -> Sequence[object]:
    (data.parent / "bad.h5").write_bytes(b"no weights")
    return ("--weights", data.parent / "bad.h5")


def foreign_folder(data: Path) -> Sequence[object]:
    (data.parent / "mine").mkdir()
    (data.parent / "mine" / "notes.txt").write_text("mine")
    return ("--out", data.parent / "mine")


def bad_key(data: Path) -> Sequence[object]:
    (data.parent / "key.pem").write_text("no key")
    return ("--key", data.parent / "key.pem")


def out_below_a_file(data: Path) -> Sequence[object]:
    (data.parent / "file").write_text("")
    return ("--out", data.parent / "file" / "bundle")


@pytest.mark.parametrize(
    ("spoil", "code", "message"),
    [
        (no_spots, DataError.exit_code, "class spot has no pictures"),
        (one_class, DataError.exit_code, "only one class folder, intact"),
        (torn_picture, DataError.exit_code, "1 unreadable of 13"),
        (two_labels, DataError.exit_code, "are the same picture under two labels"),
        (leaked_test, DataError.exit_code, "12 test pictures are also in --data"),
        (too_few, DataError.exit_code, "class spot has 2 distinct pictures or groups of them; it takes at least 4"),
        (lambda _: ("--data", "/nowhere"), DataError.exit_code, "/nowhere: no such folder of pictures"),
        (lambda _: ("--pass", "intakt"), DataError.exit_code, "did you mean intact?"),
        (lambda _: ("--weights", "gone.h5"), DataError.exit_code, "gone.h5: no such file"),
        (damaged_weights, DataError.exit_code, "not the weights of mobilenet-v2 alpha 0.35"),
        (lambda _: ("--alpha", "0.4"), ConfigError.exit_code, "0.35, 0.5, 0.75, 1, 1.3, 1.4"),
        (lambda _: ("--size", "100"), ConfigError.exit_code, "size 100 is not a multiple of 32"),
        (lambda _: ("--size", "100000"), ConfigError.exit_code, "size 100000 is above the 4096 pixels"),
        (lambda _: ("--seed", "-1"), ConfigError.exit_code, "seed -1"),
        (lambda _: ("--key", "gone.pem"), ConfigError.exit_code, "make one with edge-train keygen"),
        (bad_key, ConfigError.exit_code, "key.pem: not an unencrypted PEM private key"),
        (lambda data: ("--out", data / "spot" / "b"), ConfigError.exit_code, "spot/b lies inside"),
        (foreign_folder, BundleError.exit_code, "exists and is not a bundle"),
        (out_below_a_file, BundleError.exit_code, "cannot be written"),
        (lambda _: ("--out", "/proc/nowhere/bundle"), BundleError.exit_code, "/proc cannot be written to"),
    ],
)
def test_bad_input_is_one_clear_line(
    tmp_path: Path, spoil: Callable[[Path], Sequence[object]], code: int, message: str
) -> None:
    """Each mistake ends with its documented exit code and one line that names it; no traceback, no bundle."""
    data = make_folder(tmp_path / "data", each=4)
    extra = spoil(data)
    result = run("build", "--data", data, "--out", tmp_path / "out", "--weights", "none", "--size", "32", *extra)
    assert result.returncode == code, result.stderr
    errors = [line for line in result.stderr.splitlines() if not line.startswith("reading")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "out").exists()


def test_a_failed_download_points_to_weights_from_a_file(tmp_path: Path) -> None:
    """Without internet, --weights imagenet is one line that tells of --weights FILE."""
    data = make_folder(tmp_path / "data", each=4)
    result = run(
        "build", "--data", data, "--out", tmp_path / "out", "--size", 32,
        https_proxy="http://127.0.0.1:9", KERAS_HOME=str(tmp_path / "keras"),
    )  # fmt: skip
    assert result.returncode == DataError.exit_code
    assert "cannot be downloaded" in result.stderr.splitlines()[-1]
    assert "--weights FILE" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_without_tensorflow_the_extra_to_install_is_named(tmp_path: Path) -> None:
    """On a machine with the core install only, build says what to install; help and keygen still work."""
    (tmp_path / "hidden" / "tensorflow").mkdir(parents=True)
    (tmp_path / "hidden" / "tensorflow" / "__init__.py").write_text("raise ModuleNotFoundError('No tensorflow')")
    data = make_folder(tmp_path / "data", each=4)
    hidden = str(tmp_path / "hidden")
    result = run("build", "--data", data, "--out", tmp_path / "out", PYTHONPATH=hidden)
    assert result.returncode == RuntimeUnavailableError.exit_code
    assert "pip install 'edge-inspect[training]'" in result.stderr.splitlines()[-1]
    assert run("build", "--help", PYTHONPATH=hidden).returncode == 0
