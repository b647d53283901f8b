"""Runs the real daemon as systemd does by the unit, for tests: notified, watched, and started anew when it fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Self

from device import inspect_command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WATCHDOG_SECONDS = 30.0
"""The unit's."""
LEFT_AT = (0, 2, 3, 4)
"""Exit codes that the unit has no new start for: an end that was wanted, and what no restart mends."""
_RESTART_SECONDS = 0.5
_LOOK_SECONDS = 0.1


class Service:
    """One daemon after the other."""

    def __init__(self, config: Path, environment: Mapping[str, str], watchdog_s: float = WATCHDOG_SECONDS) -> None:
        """Take its configuration; it writes to `daemon.log` beside it."""
        self._watchdog = watchdog_s
        self.log = config.with_name("daemon.log")
        self.codes: list[int] = []
        """What the daemons ended with that were started anew."""
        self.fed = 0
        """How often a watchdog was."""
        self._notify = config.with_name("notify")
        self._environment = {**os.environ, **environment, "NOTIFY_SOCKET": str(self._notify)}
        self._command = inspect_command("run", "--config", config)
        self._over = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._notify))
        self._socket.settimeout(_LOOK_SECONDS)
        self._daemon = self._start()
        self._thread = threading.Thread(target=self._look_after, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over = True
        self._daemon.send_signal(signal.SIGCONT)
        self._daemon.kill()
        self._thread.join()
        self._daemon.wait()
        self._socket.close()

    @property
    def pid(self) -> int:
        """The present daemon's."""
        return self._daemon.pid

    def send(self, number: signal.Signals) -> None:
        """Send the present daemon a signal."""
        self._daemon.send_signal(number)

    def stop(self) -> int:
        """End it as `systemctl stop` does; returns its exit code."""
        self._over = True
        self._daemon.terminate()
        return self._daemon.wait(10)

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)

    def _look_after(self) -> None:
        while not self._over:
            self._watch()
            code = self._daemon.wait()
            if self._over:
                return
            self.codes.append(code)
            if code in LEFT_AT:
                return
            time.sleep(_RESTART_SECONDS)
            self._daemon = self._start()

    def _watch(self) -> None:
        """Return when the daemon has ended; one that does not feed its watchdog is ended."""
        fed_at = None
        while self._daemon.poll() is None:
            try:
                said = self._socket.recv(200)
            except TimeoutError:
                said = b""
            if said in (b"READY=1", b"WATCHDOG=1"):
                self.fed += said == b"WATCHDOG=1"
                fed_at = time.monotonic()
            if fed_at is not None and time.monotonic() - fed_at > self._watchdog:
                self._daemon.send_signal(signal.SIGABRT)
                self._daemon.send_signal(signal.SIGCONT)
                return
