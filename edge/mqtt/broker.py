"""The only file that knows paho: its client with protocol, login and TLS as configured, and what refusals mean."""

from __future__ import annotations

import logging
import re
import socket
import ssl
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import BrokerError, ConfigError
from edge.sections.mqtt import LONGEST_PASSWORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.config import Config
    from edge.sections.mqtt import Mqtt

CONNECT_SECONDS = 5.0
_LOGIN = "mqtt.username and the password"
_REMEDIES = {"protocol": "mqtt.protocol", "identifier": "device.id", "user name": _LOGIN, "authori": _LOGIN}
"""What to check, by a word in the broker's reason."""
_HANDSHAKE_REMEDIES = {
    "verify failed": "is mqtt.ca_file the CA of this broker, mqtt.host a name in its certificate, and the clock right?",
    "certificate required": "it wants a certificate: set mqtt.cert_file and mqtt.key_file",
    "unknown ca": "mqtt.cert_file is of another CA: give the device one of the broker's (edge-deploy certify)",
    "certificate expired": "give the device a new mqtt.cert_file (edge-deploy certify), unless a clock is wrong",
    "version": "does this port expect TLS, 1.2 at least? See mqtt.tls and mqtt.port",
}
"""What to do, by words in what OpenSSL says: of the broker's certificate, or of the alert that the broker sent."""


def _pair() -> tuple[socket.socket, socket.socket]:
    """Return what one thread wakes paho's with: its own is made by listening on a port of this host for a moment."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


paho._socketpair_compat = _pair  # noqa: SLF001 - the service may listen on no port (systemd/)


def make_client(mqtt: Mqtt, client_id: str) -> paho.Client:
    """Return a client with protocol, login and TLS as configured; raises ConfigError for unusable files."""
    protocol = paho.MQTTv5 if mqtt.protocol == "5" else paho.MQTTv311
    alerts: list[str] = []
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        userdata=alerts,
        protocol=protocol,
        reconnect_on_failure=False,
    )
    client.suppress_exceptions = True  # An exception in a callback would end paho's thread; it is logged instead.
    client.enable_logger(_paho_log())
    client.on_log = _note_alert
    client.connect_timeout = CONNECT_SECONDS
    if mqtt.username:
        client.username_pw_set(mqtt.username, _password(mqtt))
    if mqtt.tls:
        client.tls_set_context(_tls_context(mqtt))
    return client


def log_in(client: paho.Client, mqtt: Mqtt) -> None:
    """Connect and leave the network thread running; raises BrokerError with what the broker or the network said.

    Uses `on_connect` and `on_disconnect` for that; they are free again afterwards.
    """
    answer: SimpleQueue[str] = SimpleQueue()

    def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        answer.put(refusal(mqtt, reason) if reason.is_failure else "")

    def on_disconnect(_client: Any, alerts: list[str], _flags: Any, reason: Any, _properties: Any) -> None:
        answer.put(hung_up(mqtt, reason, alerts))

    client.on_connect, client.on_disconnect = on_connect, on_disconnect
    try:
        client.connect(mqtt.host, mqtt.port, keepalive=mqtt.keepalive_s)
    except (OSError, ValueError) as error:
        raise BrokerError(unreachable(mqtt, error)) from error
    client.loop_start()
    try:
        problem = answer.get(timeout=CONNECT_SECONDS)
    except Empty:
        problem = silent(mqtt)
    client.on_connect = client.on_disconnect = None
    if problem:
        log_out(client)
        raise BrokerError(problem)


def log_out(client: paho.Client) -> None:
    """Disconnect and end the network thread."""
    client.disable_logger()  # paho calls the link that we close an error.
    client.disconnect()
    client.loop_stop()
    client.on_connect = client.on_subscribe = client.on_message = None  # No ring: its last sockets go with it.


def _paho_log() -> logging.Logger:
    logger = logging.getLogger("paho")
    # paho calls it an error that a closed connection is closed; the publisher says it better.
    logger.addFilter(_is_news)
    return logger


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(("Client is not connected", "failed to receive on socket"))


def _note_alert(_client: Any, alerts: list[str], _level: Any, text: str) -> None:
    """Keep the TLS alert of a broker: paho reports a connection that it ends by one as an unspecified error."""
    alerts += re.findall(r"\balert ([a-z ]+)", text)


def check_broker(config: Config) -> None:
    """Log in once and leave again; raises BrokerError with what the broker or the network said."""
    client = make_client(config.mqtt, f"edge-inspect-check-{config.device.id}")
    log_in(client, config.mqtt)
    log_out(client)


def address(mqtt: Mqtt) -> str:
    """Name a broker as host:port."""
    return f"{mqtt.host}:{mqtt.port}"


def unreachable(mqtt: Mqtt, error: BaseException | None) -> str:
    """Say in one line that the broker cannot be reached, why, and what to check."""
    if isinstance(error, ssl.SSLError):
        return _no_handshake(mqtt, str(error))
    return f"broker {address(mqtt)} cannot be reached ({error}); check mqtt.host, mqtt.port and the network"


def silent(mqtt: Mqtt) -> str:
    """Say in one line that something accepts connections and never says a word of MQTT."""
    remedy = "is it an MQTT broker, and does it expect TLS?"
    return f"broker {address(mqtt)} accepts the connection but does not answer; {remedy}"


def hung_up(mqtt: Mqtt, reason: Any, alerts: Sequence[str]) -> str:
    """Say in one line that a broker ended a connection before it answered, with the TLS alerts that it sent."""
    if alerts:
        return _no_handshake(mqtt, alerts[-1].strip())
    if _is_timeout(reason):  # It was paho that gave up waiting.
        return silent(mqtt)
    remedy = "check mqtt.tls, mqtt.cert_file and the broker's log"
    if "protocol error" in str(reason).lower() and mqtt.protocol == "5":
        # It may be paho's: it does not take all that is legal in MQTT 5, as packets of 4 GiB (3.2.2.3.6).
        remedy += ', or set mqtt.protocol = "3.1.1"'
    return f"broker {address(mqtt)} hangs up before a login ({reason}); {remedy}"


def _no_handshake(mqtt: Mqtt, what: str) -> str:
    found = (remedy for words, remedy in _HANDSHAKE_REMEDIES.items() if words in what.lower())
    remedy = next(found, "check mqtt.cert_file and the broker's log")
    return f"broker {address(mqtt)}: no TLS handshake ({what}); {remedy}"


def unanswering(mqtt: Mqtt, seconds: float) -> str:
    """Say in one line that a broker answers pings, but not what is said to it."""
    what = f"did not acknowledge a message for {seconds:g} s, nor refuse it"
    return f"broker {address(mqtt)} {what}; see its log, and how much it allows a client in a second"


def closed(mqtt: Mqtt, reason: Any) -> str:
    """Say in one line why a broker ended a connection: two devices with one id keep ending each other's."""
    if _is_timeout(reason):
        return f"broker {address(mqtt)} answers no more ({reason}); check the network"
    hint = RIVAL if is_rival(reason) else "if that repeats, does another device have this device.id?"
    return f"broker {address(mqtt)} closed the connection ({reason}); {hint}"


def is_rival(reason: Any) -> bool:
    """Say whether a connection ended because another client came with this one's name.

    Only MQTT 5 tells, and not every broker: under 3.1.1 the connection just ends.
    """
    return "taken over" in str(reason).lower()


def _is_timeout(reason: Any) -> bool:
    return "keep alive" in str(reason).lower()


def refusal(mqtt: Mqtt, reason: Any) -> str:
    """Say in one line that the broker refuses this client, why, and what to check."""
    who = f"user {mqtt.username!r}" if mqtt.username else "a client without a login"
    remedy = next((what for word, what in _REMEDIES.items() if word in str(reason).lower()), "the broker's log")
    return f"broker {address(mqtt)} refuses {who} ({reason}); check {remedy}"


RIVAL = "another device has this device.id"
CONTESTED = "connections end at once: has another device this device.id? Else see the broker's log"
FORBIDDEN = "Not authorized"
"""How paho names the reason of what access rules forbid (MQTT 5, 2.4): that will be refused again."""


def not_taken(topic: str, reason: str) -> str:
    """Say in one line that the broker refuses a message, why, and what to check."""
    if "large" in reason:
        return f"the broker refuses {topic} ({reason}); raise its limit, as max_packet_size of mosquitto"
    return f"the broker refuses {topic} ({reason}); check its access rules, and whose mqtt.cert_file is"


def not_heard(topic: str, reason: str) -> str:
    """Say in one line that the broker does not let us hear a topic, why, and what to check."""
    return f"the broker does not let us hear {topic} ({reason}); check its access rules, and whose mqtt.cert_file is"


def _password(mqtt: Mqtt) -> str:
    if mqtt.password_file is None:
        return mqtt.password
    try:
        with mqtt.password_file.open(encoding="utf-8") as file:
            return file.readline(LONGEST_PASSWORD).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"mqtt.password_file {mqtt.password_file} cannot be read ({error})") from error


def _no_passphrase() -> str:
    """Stand in for the question that would stop a daemon for ever."""
    raise ConfigError("mqtt.key_file is encrypted; name a private key without a passphrase")


def _tls_context(mqtt: Mqtt) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=mqtt.ca_file)
        if mqtt.cert_file:
            context.load_cert_chain(mqtt.cert_file, mqtt.key_file, password=_no_passphrase)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (mqtt.ca_file, mqtt.cert_file, mqtt.key_file) if path)
        raise ConfigError(f"mqtt: the TLS files {files} cannot be used ({error})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
