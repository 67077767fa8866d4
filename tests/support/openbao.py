"""A real OpenBao server on loopback: TLS with a CA of its own, audit on, initialized and unsealed.

`with OpenBao(folder) as bao:` outside pytest as well; the benchmark measures beside it.
"""

from __future__ import annotations

import ctypes
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PROGRAM = Path(sys.executable).parent / "bao"
_PR_SET_PDEATHSIG = 1
_START_S = 30

_CONFIG = """
disable_mlock = true
ui = false
api_addr = "{address}"
storage "inmem" {{}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_cert_file = "{folder}/server.pem"
  tls_key_file = "{folder}/server.key"
  tls_min_version = "tls13"
}}
"""
_AUDIT = """
audit "file" "file" {{
  options = {{ file_path = "{folder}/audit.log" }}
}}
"""


class OpenBao:
    """One server; `address`, `ca_file`, `root_token` say how to reach it, `pid` whom to signal."""

    def __init__(self, folder: Path, *, audit: bool = True) -> None:
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self.audit_file = folder / "audit.log"
        self.root_token = ""
        self._unseal_key = ""
        self._audit = audit
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start, initialize, unseal; the transit engine is mounted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        make_certificates(self.folder)
        self.port = free_port()
        self.address = f"https://127.0.0.1:{self.port}"
        config = _CONFIG + (_AUDIT if self._audit else "")
        values = {"address": self.address, "port": self.port, "folder": self.folder}
        (self.folder / "server.hcl").write_text(config.format(**values))
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "server", f"-config={self.folder / 'server.hcl'}"],
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        try:
            self._wait(501)  # not initialized
            made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self.root_token, self._unseal_key = made["root_token"], made["keys_base64"][0]
            self.unseal()
            self.call("POST", "sys/mounts/transit", {"type": "transit"})
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server, also a frozen one."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop answering without closing a connection."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Answer again."""
        self._signal(signal.SIGCONT)

    def seal(self) -> None:
        """Seal the server: every key is gone from its memory."""
        self.call("PUT", "sys/seal")

    def unseal(self) -> None:
        """Unseal it and wait until it serves."""
        self.call("PUT", "sys/unseal", {"key": self._unseal_key})
        self._wait(200)

    def make_key(self, name: str, **options: Any) -> None:
        """Make a transit key."""
        self.call("POST", f"transit/keys/{name}", {"type": "aes256-gcm96", **options})

    def token_for(self, key: str, file: Path, **options: Any) -> str:
        """Make a token that may use one transit key, write it into a 0600 file, return it."""
        self.call("PUT", f"sys/policies/acl/strongroom-{key}", {"policy": policy(key)})
        asked = {"policies": [f"strongroom-{key}"], "no_parent": True, "ttl": "1h", **options}
        token: str = self.call("POST", "auth/token/create", asked)["auth"]["client_token"]
        write_private(file, token)
        return token

    def approle_for(self, key: str, secret_id_file: Path) -> str:
        """Let an AppRole use one transit key; return its role id, write its secret id."""
        self.call("PUT", f"sys/policies/acl/strongroom-{key}", {"policy": policy(key)})
        if "approle/" not in self.call("GET", "sys/auth")["data"]:
            self.call("POST", "sys/auth/approle", {"type": "approle"})
        role = f"auth/approle/role/{key}"
        self.call("POST", role, {"token_policies": f"strongroom-{key}", "token_ttl": "10m"})
        secret = self.call("POST", f"{role}/secret-id")["data"]["secret_id"]
        write_private(secret_id_file, secret)
        role_id: str = self.call("GET", f"{role}/role-id")["data"]["role_id"]
        return role_id

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """Call the API and return the decoded answer; an error status raises."""
        status, answer = self._ask(method, path, body, token or self.root_token)
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer

    def _ask(self, method: str, path: str, body: Any, token: str) -> tuple[int, Any]:
        headers = {"X-Vault-Token": token} if token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 (loopback)
            f"{self.address}/v1/{path}", data=data, method=method, headers=headers
        )
        context = ssl.create_default_context(cafile=str(self.ca_file))
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310
                raw = answer.read()
                return answer.status, json.loads(raw) if raw else None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def _wait(self, status: int) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError((self.folder / "server.log").read_text())
            try:
                if self._ask("GET", "sys/health", None, "")[0] == status:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"OpenBao does not answer {status}")

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def policy(key: str, mount: str = "transit") -> str:
    """Return what a root's token must be allowed: to read, encrypt and decrypt with one key."""
    return (
        f'path "{mount}/keys/{key}" {{ capabilities = ["read"] }}\n'
        f'path "{mount}/encrypt/{key}" {{ capabilities = ["update"] }}\n'
        f'path "{mount}/decrypt/{key}" {{ capabilities = ["update"] }}\n'
    )


def make_certificates(folder: Path) -> None:
    """Write `ca.pem`, and `server.pem` with `server.key` for 127.0.0.1 and localhost."""
    authority, ca = ec.generate_private_key(ec.SECP256R1()), _name("Test CA")
    _write(folder / "ca.pem", _certificate(ca, authority, ca, authority, server=False))
    key = ec.generate_private_key(ec.SECP256R1())
    _write(folder / "server.pem", _certificate(_name("server"), key, ca, authority, server=True))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(folder / "server.key", private.decode())


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    *,
    server: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=not server,
        crl_sign=not server, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=not server, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority_key, critical=False)
    )
    if server:
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        serving = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(serving, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text + "\n")


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
