"""The way to the broker, step by step: name, port, files, its certificate, the login, an acknowledgement."""

from __future__ import annotations

import socket
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from edge import clock
from edge.doctor.finding import ok, problem, shorten, skipped, warning
from edge.errors import BrokerError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from edge.doctor.finding import Finding, Patient
    from edge.sections.mqtt import Mqtt

_SECONDS = 5.0
"""For one connection, and for one acknowledgement."""
_SOON = timedelta(days=30)
_NEW = "edge-deploy certify makes a new one; then edge-deploy push"
_NEW_BROKER = "edge-deploy broker makes a new one; mosquitto takes it with SIGHUP"
_CLOCK = "set the clock (timedatectl set-ntp true); if it is right, the clock of who made the certificate was not"
CREDENTIALS = Path("/run/credentials")
"""Where systemd puts what LoadCredential= names; its access rules there are more than a mode."""
_TOPIC = "edge-inspect/mark"
"""Nobody subscribes to this; an acknowledgement that forbids it is one too."""


def name(patient: Patient) -> Iterator[Finding]:
    """Whether the broker's name has addresses."""
    mqtt = patient.configured.mqtt
    try:
        found = socket.getaddrinfo(mqtt.host, mqtt.port, type=socket.SOCK_STREAM)
    except OSError as error:
        remedy = "check mqtt.host and the name server (resolvectl status), or write the address"
        yield problem("broker name", f"{mqtt.host} has no address ({error.strerror})", remedy)
        return
    addresses = sorted({str(each[4][0]) for each in found})
    yield ok("broker name", mqtt.host if addresses == [mqtt.host] else f"{mqtt.host} is {', '.join(addresses)}")


def port(patient: Patient) -> Iterator[Finding]:
    """Whether somebody listens on the broker's port."""
    mqtt = patient.configured.mqtt
    try:
        socket.create_connection((mqtt.host, mqtt.port), timeout=_SECONDS).close()
    except OSError as error:
        yield judge_connection(mqtt, error)
    else:
        yield ok("broker port", f"{mqtt.host}:{mqtt.port} accepts connections")


def judge_connection(mqtt: Mqtt, error: OSError) -> Finding:
    """Say what a connection that failed means: refused and silent have different causes."""
    where = f"{mqtt.host}:{mqtt.port}"
    match error:
        case ConnectionRefusedError():
            remedy = "is mosquitto running there, does it listen beyond localhost, and is mqtt.port right?"
            return problem("broker port", f"{where} refuses connections", remedy)
        case TimeoutError():
            remedy = "check mqtt.host, the cable or Wi-Fi, and the firewalls in between"
            return problem("broker port", f"{where} does not answer within {_SECONDS:g} s", remedy)
        case _:
            remedy = "check the network of this device (ip address, ip route) and mqtt.host"
            return problem("broker port", f"{where} cannot be reached ({error.strerror or error})", remedy)


def files(patient: Patient) -> Iterator[Finding]:
    """Whether the files that [mqtt] names can be used, and how long they last."""
    mqtt = patient.configured.mqtt
    if absent := _not_handed_over(mqtt):
        yield skipped("certificates", absent)
        return
    from edge.mqtt.broker import make_client

    make_client(mqtt, "edge-inspect-doctor")  # Raises ConfigError, which names the files.
    for secret in filter(None, (mqtt.password_file, mqtt.key_file)):
        if secret.stat().st_mode & 0o004:
            yield warning("certificates", f"everybody may read {secret}", f"chmod o-rwx {secret}")
    for dated, remedy in ((mqtt.cert_file, _NEW), (mqtt.ca_file, f"{_NEW} with the CA's new certificate")):
        if dated is not None:
            yield judge_dates("certificates", str(dated), _earliest(dated), clock.now(), remedy)
    if not mqtt.tls:
        yield skipped("certificates", "mqtt.tls is false: what is sent can be read, and changed, on the way")


def _not_handed_over(mqtt: Mqtt) -> str:
    """Say that a file is one that systemd hands to the service, and only while that runs; empty if none is."""
    named = (mqtt.password_file, mqtt.ca_file, mqtt.cert_file, mqtt.key_file)
    absent = next((path for path in named if path and CREDENTIALS in path.parents and not path.exists()), None)
    return f"{absent} is there while the service runs only: start it, then ask again" if absent else ""


def _earliest(path: Path) -> x509.Certificate:
    """Return the certificate of a PEM file that ends first."""
    from cryptography import x509

    try:
        return min(x509.load_pem_x509_certificates(path.read_bytes()), key=lambda each: each.not_valid_after_utc)
    except ValueError as error:
        raise ConfigError(f"{path} is no certificate ({error}); name a PEM file") from error


def judge_dates(check: str, what: str, certificate: x509.Certificate, now: datetime, remedy: str) -> Finding:
    """Judge a certificate's time at a moment."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < first:
        says = f"{what} is valid from {first:%Y-%m-%d %H:%M} UTC on, and here it is {now:%Y-%m-%d %H:%M}"
        return problem(check, says, _CLOCK)
    if now > last:
        return problem(check, f"{what} ended on {last:%Y-%m-%d}", remedy)
    if last - now < _SOON:
        return warning(check, f"{what} ends in {(last - now).days} days, on {last:%Y-%m-%d}", remedy)
    return ok(check, f"{what} is valid until {last:%Y-%m-%d}")


def server(patient: Patient) -> Iterator[Finding]:
    """Whether the broker's certificate is in its time, of the right CA, and has the right name."""
    mqtt = patient.configured.mqtt
    if not mqtt.tls:
        yield skipped("broker tls", "mqtt.tls is false")
        return
    from cryptography import x509

    try:
        shown, doubt = _shown_certificate(mqtt), _verification(mqtt)
    except OSError as error:
        says = shorten(f"{mqtt.host}:{mqtt.port} makes no TLS handshake ({error})")
        yield problem("broker tls", says, "does this port expect TLS, 1.2 at least? See mqtt.tls and mqtt.port")
        return
    yield judge_dates(
        "broker tls", "the broker's certificate", x509.load_der_x509_certificate(shown), clock.now(), _NEW_BROKER
    )
    yield judge_verification(mqtt, doubt)


def _shown_certificate(mqtt: Mqtt) -> bytes:
    """Return what the broker shows, believed or not; raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # Only to look at it: nothing is said on this connection.
    with (
        socket.create_connection((mqtt.host, mqtt.port), timeout=_SECONDS) as link,
        context.wrap_socket(link, server_hostname=mqtt.host) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def _verification(mqtt: Mqtt) -> ssl.SSLError | None:
    """Return why the broker's certificate is not believed, as the daemon looks at it; None if it is."""
    context = ssl.create_default_context(cafile=mqtt.ca_file)
    with socket.create_connection((mqtt.host, mqtt.port), timeout=_SECONDS) as link:
        try:
            context.wrap_socket(link, server_hostname=mqtt.host).close()
        except ssl.SSLError as error:
            return error
    return None


def judge_verification(mqtt: Mqtt, error: ssl.SSLError | None) -> Finding:
    """Judge whether the broker is who it says, by OpenSSL's reason (x509_vfy.h)."""
    if error is None:
        return ok("broker tls", f"the broker's certificate is for {mqtt.host}, by a CA that is trusted")
    if not isinstance(error, ssl.SSLCertVerificationError):
        return skipped("broker tls", shorten(f"not verified ({error}): the login will tell"))
    says = shorten(f"the broker's certificate is not believed ({error.verify_message})")
    if error.verify_code in {62, 64}:  # Host name, IP address.
        return problem(
            "broker tls", says, "set mqtt.host to a name in it, or make one for this name (edge-deploy broker)"
        )
    if error.verify_code in {9, 10}:  # Not yet, no more.
        return problem("broker tls", says, f"{_NEW_BROKER}; or the clock is wrong")
    own = f"{mqtt.ca_file} is not" if mqtt.ca_file else "none of the system's is"
    return problem("broker tls", says, f"set mqtt.ca_file to the ca.crt of the broker: {own} its CA")


def login(patient: Patient) -> Iterator[Finding]:
    """Whether the broker lets the device in and acknowledges a message."""
    config = patient.configured
    if absent := _not_handed_over(config.mqtt):
        yield skipped("broker", absent)
        return
    from edge.mqtt.broker import address, log_in, log_out, make_client

    client = make_client(config.mqtt, f"edge-inspect-check-{config.device.id}")
    answers: SimpleQueue[str] = SimpleQueue()

    def on_publish(_client: Any, _data: Any, _packet: Any, reason: Any, _properties: Any) -> None:
        answers.put(str(reason))

    client.on_publish = on_publish
    log_in(client, config.mqtt)  # Raises BrokerError.
    try:
        client.publish(_TOPIC, b"", qos=1)
        answers.get(timeout=_SECONDS)
    except Empty:
        remedy = "see its log, and how much it allows a client in a second"
        raise BrokerError(f"broker {address(config.mqtt)} lets us in and acknowledges nothing; {remedy}") from None
    finally:
        log_out(client)
    yield ok("broker", f"{address(config.mqtt)} lets {config.mqtt.username or 'us'} in, and acknowledges messages")
