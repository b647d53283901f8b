"""A private CA and certificates signed by it, made for one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy import certificates

if TYPE_CHECKING:
    from pathlib import Path


class Authority:
    """The CA that edge-deploy makes, in a folder of its own; certificates for a broker on 127.0.0.1, and for others."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder / name
        self._authority = certificates.Authority(self._folder)
        self.certificate = self._folder / f"{certificates.CA}.crt"

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a new certificate and its key."""
        hosts = ("127.0.0.1",) if name == certificates.BROKER else ()
        certificate = self._authority.issue(name, name, hosts)
        return certificate, certificate.with_suffix(".key")
