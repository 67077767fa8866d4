"""Small certificate authorities for tests, made by the openssl program: a second implementation."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Leaf(NamedTuple):
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


_CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
subjectAltName = URI:{uri}
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = {usage}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


class Authority:
    """An authority with its own directory."""

    def __init__(self, folder: Path, name: str, *, uri: str = "urn:none") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.certificate, self._key = folder / "ca.pem", folder / "ca.key"
        self._make(name, "authority", self.certificate, self._key, uri=uri)

    def issue(self, name: str, names: str, *, usage: str = "clientAuth", days: int = 30) -> Leaf:
        """Issue a certificate; `names` as in openssl's subjectAltName."""
        made = Leaf(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        by = ("-CA", self.certificate, "-CAkey", self._key)
        self._make(name, "leaf", *made, *by, names=names, usage=usage, days=days)
        return made

    def _make(
        self, name: str, section: str, certificate: Path, key: Path, *by: object,
        uri: str = "urn:x", names: str = "DNS:x", usage: str = "clientAuth", days: int = 30,
    ) -> None:  # fmt: skip
        config = self.folder / "openssl.cnf"
        config.write_text(_CONFIG.format(name=name, uri=uri, names=names, usage=usage))
        _openssl(
            "req", "-x509", "-config", config, "-extensions", section, "-newkey", "ec",
            "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
            "-days", days, *by,
        )  # fmt: skip
        key.chmod(0o600)


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
