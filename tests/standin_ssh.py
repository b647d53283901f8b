"""Stands in for ssh in tests: runs the command here by a shell, as the user's login shell would there.

The host `unreachable` is not, as ssh says it.
"""

from __future__ import annotations

import argparse
import os
import sys


def main() -> None:
    """Understand the options that edge-train gives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-T", action="store_true", required=True)
    parser.add_argument("-o", action="append", required=True)
    parser.add_argument("host")
    parser.add_argument("command")
    arguments = parser.parse_args()
    assert "BatchMode=yes" in arguments.o
    if arguments.host == "unreachable":
        print("ssh: connect to host unreachable port 22: No route to host", file=sys.stderr)
        sys.exit(255)
    os.execvp("sh", ["sh", "-c", arguments.command])  # noqa: S606 - it becomes what it stands for


if __name__ == "__main__":
    main()
