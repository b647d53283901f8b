"""One device over ssh: the only file that knows pyinfra.

pyinfra plans every operation from facts that it reads on the device, then runs those that change something.
It is used without gevent's monkey-patching, one operation at a time in this thread, so that other threads
of this process (the MQTT client's) stay what they are.
"""

from __future__ import annotations

import logging
import re
import socket
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from edge.contract.names import is_host
from edge.errors import DeployError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONNECT_SECONDS = 10
DEAD_LINK_SECONDS = 30
"""A command on a link that acknowledges nothing for this long has failed."""
_HOST = re.compile(
    r"(?:(?P<user>[^@\s-][^@\s]*)@)?(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^@:\[\]\s-][^@:\[\]\s]*))(?::(?P<port>\d{1,5}))?"
)
_BROKE = "the connection broke"
_SUDO_PASSWORD = "prompted_sudo_password"  # noqa: S105 - pyinfra's name for where it keeps one
_SUMMARY = re.compile(r"executed \d+ commands|tar: Exiting with failure status")
"""What is said last, and says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a device: what is left out comes from ~/.ssh/config, the agent and ~/.ssh/known_hosts."""

    name: str
    user: str = ""
    port: int = 0
    key: Path | None = None
    known_hosts: Path | None = None

    @classmethod
    def parse(cls, text: str, *, key: Path | None = None, known_hosts: Path | None = None) -> Access:
        """Read NAME, USER@NAME or USER@NAME:PORT (an IPv6 address in brackets); raises ValueError."""
        match = _HOST.fullmatch(text)
        if match is None or int(match["port"] or 1) not in range(1, 65536) or not is_host(match["v6"] or match["name"]):
            raise ValueError(f"{text!r} is not NAME, USER@NAME or USER@NAME:PORT")
        port = int(match["port"] or 0)
        name = match["v6"] or match["name"]
        return cls(name=name, user=match["user"] or "", port=port, key=key, known_hosts=known_hosts)

    def data(self) -> dict[str, Any]:
        """Return what pyinfra's ssh connector wants to know."""
        given = {
            "ssh_user": self.user,
            "ssh_port": self.port,
            "ssh_key": str(self.key or ""),
            "ssh_known_hosts_file": str(self.known_hosts or ""),
        }
        return {**{key: value for key, value in given.items() if value}, "ssh_strict_host_key_checking": "yes"}


class Device:
    """A connected device; a context manager. Everything runs as root, by sudo where the login is another user."""

    def __init__(self, access: Access) -> None:
        self.name = access.name
        self.access = access
        self._typed: dict[str, Any] = {}
        """The sudo password, as pyinfra keeps it once it was asked for."""
        self._planned: list[tuple[str, str, Any]] = []

    def __enter__(self) -> Self:
        """Connect; raises DeployError, naming the remedy, if that fails or root is out of reach."""
        try:
            from pyinfra.api import Config, Inventory, State
        except ModuleNotFoundError as error:
            raise DeployError(f"{error.name} is not installed; pip install 'edge-inspect[deploy]'") from error
        self._log = _quiet_logs()
        inventory = Inventory(([(self.name, self.access.data())], {}))
        self._state: Any = State(inventory, Config(CONNECT_TIMEOUT=CONNECT_SECONDS))
        self._host: Any = inventory.get_host(self.name)
        self._host.connector_data.update(self._typed)
        self._connect()
        self._become_root()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            self.sever()
        self._host.disconnect()
        self._host.connector.client.close()

    def sever(self) -> None:
        """Let go of the connection at once, as Ctrl-C wants that came while something was being sent.

        paramiko may hold its lock on sending for ever then, and would wait for it wherever one of its objects ends.
        """
        transport = self._host.connector.client.get_transport()
        if transport is not None:
            transport.active = False
            transport.sock.close()

    def another(self) -> Device:
        """Return the same device for a connection of its own, that asks for no password again."""
        fresh = Device(self.access)
        known = self._host.connector_data
        fresh._typed = {_SUDO_PASSWORD: known[_SUDO_PASSWORD]} if _SUDO_PASSWORD in known else {}
        return fresh

    def ask(self, command: str) -> list[str]:
        """Run a shell command and return its output's lines; raises DeployError if it fails."""
        ok, output = self._shell(command, _sudo=self._state.config.SUDO)
        if not ok:
            raise DeployError(f"{self.name}: {(output.output_lines or ['no reason given'])[-1]} (in: {command})")
        lines: list[str] = output.stdout_lines
        return lines

    def fact(self, kind: Any, **arguments: Any) -> Any:
        """Read one of pyinfra's facts."""
        with self._translated("facts could not be read"):
            return self._host.get_fact(kind, **arguments)

    def plan(self, title: str, operation: Callable[..., Any], **arguments: Any) -> bool:
        """Add one of pyinfra's operations to the plan; True if it would change the device."""
        from pyinfra.api.operation import add_op

        with self._translated(title):
            meta = add_op(self._state, operation, host=self._host, name=title, **arguments)[self._host]
        self._planned.append((title, self._host.op_hash_order[-1], meta))
        return bool(meta.will_change)

    def planned(self) -> list[str]:
        """Return the titles of the planned operations that change the device."""
        return [title for title, _, meta in self._planned if meta.will_change]

    def apply(self, say: Callable[[str], None]) -> bool:
        """Carry the plan out in order and empty it; True if it changed the device.

        Raises DeployError with the device's own last words.
        """
        from pyinfra.api.operations import run_host_op
        from pyinfra.context import ctx_host, ctx_state

        planned, self._planned = self._planned, []
        self._state.is_executing = True
        try:
            for title, op_hash, meta in planned:
                if meta.will_change:
                    say(title)
                with self._translated(title), ctx_state.use(self._state), ctx_host.use(self._host):
                    done = run_host_op(self._state, self._host, op_hash)
                if not done:
                    raise DeployError(f"{self.name}: {title}: {self._last_words() or _BROKE}")
        finally:
            self._state.is_executing = False
        return any(meta.did_change() for _, _, meta in planned)

    def _connect(self) -> None:
        from pyinfra.api.exceptions import PyinfraError

        try:
            self._host.connect(raise_exceptions=True, show_errors=False)
        except (PyinfraError, OSError, EOFError) as error:
            raise DeployError(f"{self.name}: {_ssh_problem(str(error), self.access)}") from error
        self._state.activate_host(self._host)
        _notice_dead_link(self._host.connector.client.get_transport())

    def _become_root(self) -> None:
        _, who = self._shell("id -u")
        if who.stdout_lines == ["0"]:
            return
        self._state.config.SUDO = True
        allowed, _ = self._shell("sudo -n true 2>/dev/null")
        if not allowed and sys.stdin.isatty():
            allowed, _ = self._shell("true", _sudo=True)  # pyinfra asks for the password, once.
        if not allowed:
            raise DeployError(f"{self.name}: this login gets no sudo; allow it without a password, or push as root")

    def _shell(self, command: str, **arguments: Any) -> tuple[bool, Any]:
        from pyinfra.api import StringCommand

        with self._translated(_BROKE):
            ok, output = self._host.run_shell_command(StringCommand(command), **arguments)
        return ok, output

    @contextmanager
    def _translated(self, title: str) -> Iterator[None]:
        from paramiko import SSHException
        from pyinfra.api.exceptions import PyinfraError

        self._log.lines.clear()
        try:
            yield
        except PyinfraError as error:
            raise DeployError(f"{self.name}: {title}: {self._last_words() or str(error) or _BROKE}") from error
        except (OSError, EOFError, SSHException) as error:  # An exception without a text is true all the same.
            raise DeployError(f"{self.name}: {title}: {str(error) or _BROKE}") from error

    def _last_words(self) -> str:
        said = (line.removeprefix(f"[{self.name}]").strip() for line in self._log.lines)
        lines = [line for line in said if line and not _SUMMARY.search(line)]
        return lines[-1] if lines else ""


class _Lines(logging.Handler):
    """Keeps what pyinfra says of failures: this program prints one line of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage().strip())


def _quiet_logs() -> _Lines:
    lines = _Lines()
    for name in ("pyinfra", "paramiko"):
        logger = logging.getLogger(name)
        logger.handlers = [lines]
        logger.propagate = False
    _leave_interrupts_to_us()
    return lines


def _leave_interrupts_to_us() -> None:
    """Keep gevent, which reads the commands' output, from printing a traceback on Ctrl-C; it still raises."""
    import gevent

    hub = gevent.get_hub()
    hub.NOT_ERROR = (*hub.NOT_ERROR, KeyboardInterrupt)


def _notice_dead_link(transport: Any) -> None:
    transport.set_keepalive(DEAD_LINK_SECONDS // 3)
    if isinstance(transport.sock, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_LINK_SECONDS * 1000)


def _ssh_problem(reason: str, access: Access) -> str:
    login = f"{access.user}@{access.name}" if access.user else access.name
    login += f" -p {access.port}" if access.port else ""
    if "No host key" in reason:
        return f"its ssh host key is not known here; compare it once with ssh {login}, or name a --known-hosts file"
    if "does not match" in reason:
        return f"its ssh host key has changed; if that was you, forget the old one: ssh-keygen -R {access.name}"
    if "Authentication" in reason:
        return f"ssh refuses this login; try ssh {login}, or name a key with --ssh-key"
    return f"not reached by ssh: {reason}"
