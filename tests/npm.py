"""Programs of others that come through npm, kept in $EDGE_INSPECT_CACHE (~/.cache/edge-inspect)."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from rigs import need


def installed(package: str) -> Path:
    """Return a folder with one package, NAME@VERSION, in its node_modules; skips where that cannot be had."""
    npm = need("npm", "npm")
    cache = Path(os.environ.get("EDGE_INSPECT_CACHE", Path.home() / ".cache" / "edge-inspect"))
    folder = cache / "npm" / package.replace("/", "-")
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        quick = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries", "1", "--fetch-timeout", "30000")
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            fresh = Path(scratch, "fresh")
            command = [npm, "install", "--prefix", fresh, *quick, package]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                pytest.skip(f"npm could not install {package}: {done.stderr.strip()[-200:]}")
            fresh.rename(folder)
    return folder
