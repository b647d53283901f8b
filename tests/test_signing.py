"""Ed25519 keys and signatures."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from edge.contract import signing
from edge.errors import BundleError, ConfigError


def test_the_standards_own_example_is_verified() -> None:
    """RFC 8032, section 7.1, test 3: the signature holds for its two bytes and for no other."""
    public = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
    signature = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    trusted = base64.b64encode(bytes.fromhex(public)).decode()
    signing.verify(bytes.fromhex("af82"), signature, [trusted])
    with pytest.raises(BundleError, match="not by any of trusted_keys"):
        signing.verify(bytes.fromhex("af83"), signature, [trusted])


def test_a_new_key_signs_what_its_public_half_verifies() -> None:
    """A generated key is loaded again from its PEM; two keys are never the same."""
    pem = signing.generate_key()
    key = signing.load_key(pem)
    public = signing.public_text(key)
    assert len(base64.b64decode(public)) == 32
    signing.verify(b"manifest", key.sign(b"manifest"), [public])
    assert signing.generate_key() != pem


@given(st.integers(0, 511))
def test_any_changed_bit_of_a_signature_is_found(bit: int) -> None:
    """A signature with one bit changed is refused."""
    key = signing.load_key(signing.generate_key())
    signature = bytearray(key.sign(b"manifest"))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BundleError):
        signing.verify(b"manifest", bytes(signature), [signing.public_text(key)])


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"x" * 65])
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    """A signature of another length, or of zeros, is a BundleError."""
    with pytest.raises(BundleError):
        signing.verify(b"manifest", signature, [signing.public_text(signing.load_key(signing.generate_key()))])


def test_no_trusted_key_trusts_nothing() -> None:
    """An empty list of keys verifies nothing."""
    with pytest.raises(BundleError):
        signing.verify(b"manifest", b"\0" * 64, [])


@pytest.mark.parametrize("text", ["", "nonsense", "AAAA", "ä", base64.b64encode(b"x" * 33).decode()])
def test_what_is_no_public_key_is_named(text: str) -> None:
    """A trusted key that is not base64 of 32 bytes is a ConfigError that shows it."""
    with pytest.raises(ConfigError, match=f"trusted_keys: {text!r} is not base64 of a 32-byte"):
        signing.verify(b"manifest", b"\0" * 64, [text])


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_other_private_keys_are_refused() -> None:
    """A text, an encrypted key and a key of another kind are each a ConfigError with the remedy."""
    locked = signing.load_key(signing.generate_key()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    for content, reason in [
        (b"", "not an unencrypted PEM"),
        (b"no key", "not an unencrypted PEM"),
        (locked, "not an unencrypted PEM"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "not Ed25519"),
        (pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)), "not Ed25519"),
    ]:
        with pytest.raises(ConfigError, match=rf"{reason}.*make one with edge-train keygen"):
            signing.load_key(content)


@given(st.binary(max_size=60))
def test_random_bytes_are_no_key(content: bytes) -> None:
    """Whatever a key file holds, only ConfigError is raised."""
    for wrapped in (
        content,
        b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(content) + b"\n-----END PRIVATE KEY-----\n",
    ):
        with pytest.raises(ConfigError) as caught:
            signing.load_key(wrapped)
        assert "\n" not in str(caught.value)
