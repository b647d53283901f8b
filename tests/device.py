"""Starts the real daemon as a process, for tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Table = dict[str, Any]


def write_config(path: Path, *, bundle: Path, camera: Table, mqtt: Table, **more: Any) -> Path:
    """Write a device.toml and return its path; `more` holds further keys and tables. Its state lies beside it."""
    plain = {
        "bundle": str(bundle),
        "state_dir": "state",
        **{key: value for key, value in more.items() if not isinstance(value, dict) and not _is_tables(value)},
    }
    tables = {"device": {"site": "test", "id": "dut"}, "camera": camera, "mqtt": mqtt}
    tables |= {key: value for key, value in more.items() if isinstance(value, dict)}
    lines = [_line(key, value) for key, value in plain.items()]
    for name, table in tables.items():
        lines += [f"[{name}]", *(_line(key, value) for key, value in table.items())]
    for name, items in more.items():
        for item in items if _is_tables(items) else ():
            lines += [f"[[{name}]]", *(_line(key, value) for key, value in item.items())]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _line(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"{key} = {{ {', '.join(_line(*item) for item in value.items())} }}"
    return f"{key} = {json.dumps(value)}"


def inspect_command(*arguments: object) -> list[str]:
    """Return the command line of `edge-inspect` in this interpreter."""
    return [sys.executable, "-m", "edge", *map(str, arguments)]


def injected(folder: Path, code: str, **more: str) -> dict[str, str]:
    """Return the environment of a daemon that runs this code first, with `more` in it."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(code)
    path = os.pathsep.join([str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, **more}


@contextmanager
def running_daemon(
    config: Path, environment: Mapping[str, str] | None = None, command: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Run `edge-inspect run`, or another command, with its output captured; it is gone afterwards, come what may."""
    daemon = subprocess.Popen(
        command or inspect_command("run", "--config", config),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield daemon
    finally:
        daemon.kill()
        daemon.communicate()


def end(daemon: subprocess.Popen[str], seconds: float = 30) -> str:
    """Wait until the daemon has ended by itself and return what it wrote to stderr."""
    return daemon.communicate(timeout=seconds)[1]


def stop(daemon: subprocess.Popen[str]) -> str:
    """Send SIGTERM, wait for the end and return what it wrote to stderr."""
    daemon.terminate()
    return end(daemon, 10)


def run_inspect(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `edge-inspect` to its end."""
    return subprocess.run(inspect_command(*arguments), capture_output=True, text=True, timeout=120, check=False)


def assert_one_clear_line(process: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Check the exit code, that stderr's last line says all of `words`, and that there is no traceback."""
    assert process.returncode == code, process.stderr
    assert "Traceback" not in process.stderr
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("edge-inspect: ")
    for word in words:
        assert word in last
