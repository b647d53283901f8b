"""A PostgreSQL server of one test, on a socket in its own folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def running_postgres() -> Iterator[dict[str, str]]:
    """Run a server, and yield the variables that lead its clients there; skips where there is none."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)
    if programs is None or shutil.which("psql") is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = NOBODY if os.geteuid() == 0 else os.geteuid()  # It refuses to run as root.
    with tempfile.TemporaryDirectory() as folder:  # Its path is short enough for a socket.
        os.chown(folder, user, -1)
        data, control = Path(folder, "data"), programs.with_name("pg_ctl")

        def run(*command: str | Path) -> None:
            own = user if os.geteuid() == 0 else None
            subprocess.run(command, user=own, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=60)

        run(programs, "-D", data, "-U", "test", "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run(control, "-D", data, "-l", Path(folder, "log"), "-w", "-o", options, "start")
        try:
            yield {"PGHOST": folder, "PGUSER": "test", "PGDATABASE": "verdicts"}
        finally:
            run(control, "-D", data, "-m", "immediate", "-w", "stop")
