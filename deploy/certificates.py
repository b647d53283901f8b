"""A private CA for one broker and its clients: who has a certificate of it is let in, under the name in it."""

from __future__ import annotations

import ipaddress
import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.contract.names import NAME, is_host
from edge.errors import DeployError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CA_DAYS = 3_650
LEAF_DAYS = 825
"""The most that common TLS libraries accept of a server's."""
OPERATOR = "operator"
CA, BROKER = "ca", "broker"
_LONGEST = 64
"""Of a common name: ub-common-name of RFC 5280."""
_DNS_NAME = r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*"
"""RFC 1035, 2.3.4; with _, as some networks have it."""
_EARLIER = timedelta(days=1)
"""A device's clock may be behind ours."""


class Authority:
    """The CA of a folder: `ca.crt` goes to everybody, `ca.key` stays there and nowhere else."""

    def __init__(self, folder: Path) -> None:
        """Open the CA of a folder, or make it; raises DeployError for files that are not one, or not all of one."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        lost = [path.name for path in (_certificate(folder, CA), _key(folder, CA)) if not path.exists()]
        if len(lost) == 1 or (lost and _certificate(folder, BROKER).exists()):
            raise DeployError(
                f"{folder} has lost {' and '.join(lost)}, and a new CA would lock out every device: put it back "
                "(each device has a copy of ca.crt), or begin in an empty folder with new certificates for all"
            )
        if lost:
            self._make()
        try:
            key = load_pem_private_key(_key(folder, CA).read_bytes(), None)
            self._certificate = x509.load_pem_x509_certificate(_certificate(folder, CA).read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise DeployError(f"{folder}: ca.crt and ca.key are not a CA of this program ({error})") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self._certificate.public_key():
            raise DeployError(f"{folder}: ca.key does not belong to ca.crt")
        self._secret = key

    def issue(self, file: str, name: str, hosts: Sequence[str] = (), *, days: float = LEAF_DAYS) -> Path:
        """Write FILE.crt and FILE.key for a client called `name`, or for a server of these hosts; returns FILE.crt.

        A new one takes the place of an old one. Raises OSError.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._secret.public_key())
        builder = (
            _builder(name, self._certificate.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(signer, critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        _write_key(_key(self._folder, file), key)
        path = _certificate(self._folder, file)
        path.write_bytes(builder.sign(self._secret, hashes.SHA256()).public_bytes(Encoding.PEM))
        return path

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edge-inspect {os.uname().nodename}"[:_LONGEST])])
        signed = (
            _builder(subject, subject, key.public_key(), CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_SIGNS_ONLY, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write_key(_key(self._folder, CA), key)
        _certificate(self._folder, CA).write_bytes(signed.public_bytes(Encoding.PEM))


def device_file(name: str) -> str:
    """Return what the files of device SITE/DEVICE are called; raises DeployError for any other name."""
    site, slash, device = name.partition("/")
    if not slash or not re.fullmatch(NAME, site) or not re.fullmatch(NAME, device) or len(name) > _LONGEST:
        raise DeployError(
            f"{name!r} is not SITE/DEVICE: each of letters, digits, _ and -, and {_LONGEST} characters in all at most, "
            "which is all that a certificate has room for"
        )
    return f"{site}.{device}"  # A dot is in neither: no other device has these files.


def dns_name(host: str) -> str:
    """Return a host's name as certificates have it and clients look for it: müller is xn--mller-kva there.

    An address stays as it is. Raises DeployError for what is neither.
    """
    if is_host(host):
        if ":" in host and "%" not in host:  # Certificates know no interfaces.
            return host
        name = host.encode("idna").decode()
        if re.fullmatch(_DNS_NAME, name):
            return name
    raise DeployError(
        f"--host {host!r} is not an address, nor a host's name: letters, digits and -, at most 63 between two dots and "
        "253 in all"
    )


def end_of(certificate: Path) -> str:
    """Return the last day of a certificate, by UTC."""
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.date().isoformat()


def first_host(certificate: Path) -> str:
    """Return the first host that a server's certificate is for; raises OSError, or ValueError where there is none."""
    extensions = x509.load_pem_x509_certificate(certificate.read_bytes()).extensions
    try:
        return str(extensions.get_extension_for_class(x509.SubjectAlternativeName).value[0].value)
    except (x509.ExtensionNotFound, IndexError) as error:
        raise ValueError(f"{certificate} is for no host") from error


def _builder(
    name: str | x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    subject = name if isinstance(name, x509.Name) else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _EARLIER,
        not_valid_after=now + timedelta(days=days),
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write it for this user's eyes only, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _certificate(folder: Path, file: str) -> Path:
    return folder / f"{file}.crt"


def _key(folder: Path, file: str) -> Path:
    return folder / f"{file}.key"


_SIGNS_ONLY = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
"""A CA that does not say so is refused by newer TLS libraries (RFC 5280, 4.2.1.3)."""
