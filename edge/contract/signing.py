"""Ed25519 signatures over a bundle's manifest (RFC 8032)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from edge.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def generate_key() -> bytes:
    """Make a new private key: PEM, PKCS 8, not encrypted (keep it where the file system protects it)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(pem: bytes) -> Ed25519PrivateKey:
    """Read a private key as `generate_key` writes it; raises ConfigError for anything else."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"not an unencrypted PEM private key ({error}); make one with edge-train keygen") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("the signing key is not Ed25519; make one with edge-train keygen")
    return key


def public_text(key: Ed25519PrivateKey) -> str:
    """Return the public half as devices list it under `trusted_keys`: base64 of its 32 bytes."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def verify(manifest: bytes, signature: bytes, trusted_keys: Iterable[str]) -> None:
    """Check that one of the trusted keys signed these bytes; raises BundleError if none did."""
    from cryptography.exceptions import InvalidSignature

    for text in trusted_keys:
        try:
            _public_key(text).verify(signature, manifest)
        except InvalidSignature:
            continue
        return
    raise BundleError("manifest.sig is not by any of trusted_keys; sign the bundle with the key this device trusts")


def _public_key(text: str) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error) as error:
        raise ConfigError(f"trusted_keys: {text!r} is not base64 of a 32-byte Ed25519 public key") from error
