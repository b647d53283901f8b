"""The command `edge-deploy`: what runs on the operator's machine."""

from __future__ import annotations

import edge.early  # noqa: F401 - first, for what it does

# isort: split
import argparse
import sys

from deploy.device import Access
from edge.command import add_command, ended_as_interrupted, make_parser, run_command, to_path, to_positive

_EXAMPLES = """examples:
  edge-deploy push pi@station-1 my-bundle --config device.toml --dry-run     what would change?
  edge-deploy push pi@station-1 my-bundle --config device.toml               do it
  edge-deploy push root@10.0.0.7:2222 my-bundle.zip --config device.toml --broker 10.0.0.1

"""
_PUSH = """Installs or updates the daemon, its configuration and its model bundle on one device over ssh, restarts it
only if something changed, and waits until it is online and has given a verdict with this bundle. If that does not
come, the old program, configuration and bundle are put back together.

The device needs Debian 12 or newer (or Raspberry Pi OS), ssh, and root: by login or by sudo (a password is asked for).
The same FILE serves here and there: files that [mqtt] names by a relative path travel with it, and its `bundle` is
set to the place on the device.
"""
_BROKER = """Writes a configuration for mosquitto 2: TLS, a certificate for every client, each device confined to its
own topics, and nothing lost of what was acknowledged. The same rules for EMQX, where one broker is not enough, are
written beside it. Run again, it makes the broker's certificate anew, and keeps the CA and each file that you changed.
"""


def main() -> int:
    """Parse the command line, run one command and return its exit code."""
    return run_command("edge-deploy", _run)


def _run() -> int:
    arguments = _parser().parse_args()
    with ended_as_interrupted():
        if arguments.command == "broker":
            from deploy import broker_files

            return broker_files.write(arguments.folder, arguments.host, arguments.port)
        if arguments.command == "certify":
            from deploy import broker_files

            return broker_files.certify(arguments.folder, arguments.name)
        return _push(arguments)


def _push(arguments: argparse.Namespace) -> int:
    from deploy.push import Push, run

    access: Access = arguments.host
    order = Push(
        access=Access(
            name=access.name,
            user=access.user,
            port=access.port,
            key=arguments.ssh_key,
            known_hosts=arguments.known_hosts,
        ),
        bundle=arguments.bundle,
        config=arguments.config,
        broker=arguments.broker,
        wheel=arguments.wheel,
        wheelhouse=arguments.wheelhouse,
        timeout=arguments.timeout,
        dry_run=arguments.dry_run,
    )
    return run(order)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("edge-deploy", "Brings bundles, configurations and the daemon to devices.", _EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    summary = "install or update one device, and keep what judges"
    push = add_command(commands, "push", summary=summary, description=_PUSH, examples=_EXAMPLES)
    push.add_argument("host", type=_host, metavar="HOST", help="NAME, USER@NAME or USER@NAME:PORT")
    push.add_argument("bundle", type=to_path, metavar="BUNDLE", help="a bundle folder or zip, from edge-train build")
    push.add_argument("--config", type=to_path, required=True, metavar="FILE", help="the device's TOML file")
    push.add_argument("--dry-run", action="store_true", help="print what would change and touch nothing")
    push.add_argument(
        "--broker",
        type=_broker,
        metavar="HOST[:PORT]",
        help="the MQTT broker as this machine reaches it (default: as FILE says)",
    )
    push.add_argument(
        "--timeout",
        type=to_positive("seconds"),
        default=60.0,
        metavar="SECONDS",
        help="for the verdict after a restart (60)",
    )
    _add_access(push)
    _add_program(push)
    _add_broker(commands)
    return parser


def _add_broker(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    summary = "write a broker's configuration, access rules and certificates"
    broker = add_command(commands, "broker", summary=summary, description=_BROKER)
    broker.add_argument("folder", type=to_path, metavar="DIR", help="for everything the broker needs")
    broker.add_argument(
        "--host",
        action="append",
        required=True,
        metavar="NAME",
        help="a name or address by which clients reach the broker; may be given again",
    )
    broker.add_argument("--port", type=_port, metavar="N", help="to listen on (as before, or 8883)")
    certify = add_command(commands, "certify", summary="give a device or an operator a certificate for that broker")
    certify.add_argument("folder", type=to_path, metavar="DIR", help="where edge-deploy broker wrote")
    certify.add_argument("name", metavar="NAME", help="SITE/DEVICE, as the device's [device] says, or `operator`")


def _add_access(push: argparse.ArgumentParser) -> None:
    access = push.add_argument_group("ssh", "~/.ssh/config, its keys and the agent are used; unknown hosts are refused")
    access.add_argument("--ssh-key", type=to_path, metavar="FILE", help="log in with this private key")
    access.add_argument("--known-hosts", type=to_path, metavar="FILE", help="host keys (default: ~/.ssh/known_hosts)")


def _add_program(push: argparse.ArgumentParser) -> None:
    program = push.add_argument_group("program", "by default a wheel of this checkout, and packages from the index")
    program.add_argument("--wheel", type=to_path, metavar="FILE", help="install this wheel of edge-inspect")
    program.add_argument(
        "--wheelhouse",
        type=to_path,
        metavar="DIR",
        help="for devices without internet: send the locked packages' wheels from this folder",
    )


def _host(text: str) -> Access:
    try:
        return Access.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535")
    return int(text)


def _broker(text: str) -> tuple[str, int]:
    access = _host(text)
    if access.user:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST or HOST:PORT; the login is taken from FILE")
    return access.name, access.port


if __name__ == "__main__":
    sys.exit(main())
