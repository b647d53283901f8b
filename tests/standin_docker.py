"""Stands in for docker and podman in tests: runs the entrypoint here, in the mounted folder, with no container.

`run` takes the options that edge-train gives; `rm` writes the name to STANDIN_REMOVED.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main() -> None:
    """Understand run and rm."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    remove = commands.add_parser("rm")
    remove.add_argument("--force", action="store_true", required=True)
    remove.add_argument("name")
    run = commands.add_parser("run")
    run.add_argument("--rm", action="store_true", required=True)
    for option in ("network", "platform", "name", "volume", "workdir", "entrypoint"):
        run.add_argument(f"--{option}", required=True)
    run.add_argument("--user")
    run.add_argument("--userns")
    run.add_argument("image")
    run.add_argument("rest", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if arguments.command == "rm":
        Path(os.environ["STANDIN_REMOVED"]).write_text(arguments.name, "ascii")
        return
    if arguments.image == "missing":
        print(f"Unable to find image '{arguments.image}' locally", file=sys.stderr)
        sys.exit(125)
    folder, inside, _ = arguments.volume.split(":")
    assert inside == arguments.workdir
    os.chdir(folder)
    os.execvp(arguments.entrypoint, [arguments.entrypoint, *arguments.rest])  # noqa: S606 - it becomes what it stands for


if __name__ == "__main__":
    main()
