"""The console as people use it: an installation with a provider, and invitations to begin with."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from strongroom.app.initialize import SANDBOX_SECRET, SANDBOX_WEBHOOK_SECRET, install
from strongroom.app.settings import FILE, Gateway
from tests.support.oidc_provider import CLIENT, SECRET, Provider
from tests.support.stack import Stack

_OIDC = """
[oidc]
issuer = "{issuer}"
client_id = "{client}"
client_secret_file = "oidc.secret"
name = "company account"
amr = {{ hwk = 2, otp = 2 }}

[oidc.roles]
payments-admins = "operator-admin"
payments-readers = "operator-read"
"""


_SANDBOX = Gateway(
    name="sandbox",
    connector="sandbox",
    base_url="http://127.0.0.1:1",
    secret_file=SANDBOX_SECRET,
    webhook_secret_files=(SANDBOX_WEBHOOK_SECRET,),
)


class Site:
    """A running installation and its console."""

    def __init__(self, root: Path, provider: Provider) -> None:
        self.stack = Stack(root)
        self.stack.data_dir.mkdir()
        install(self.stack.data_dir, mode="test", public_url="", gateways=(_SANDBOX,))
        file = self.stack.data_dir / FILE
        secret = self.stack.data_dir / "oidc.secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        table = _OIDC.format(issuer=provider.issuer, client=CLIENT)
        file.write_text(file.read_text() + table)
        self.stack.start()
        self.port = urlsplit(self.stack.url).port or 0
        self.origin = f"http://localhost:{self.port}"

    def close(self) -> None:
        self.stack.stop()

    def admin(self, work: Any) -> Any:
        """Run `await work(house)` in a thread: Playwright has an event loop in this one."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self.stack.admin, work).result()

    def invite(self, login: str, *, name: str = "Ada Example", role: str = "operator-admin") -> str:
        """Return the code of an invitation, as an administrator at the machine makes one."""

        async def work(house: Any) -> str:
            _, code = await house.operators.accounts.invite(
                login, name=name, role=role, actor="local:test"
            )
            text: str = code.reveal()
            return text

        result: str = self.admin(work)
        return result

    def entries(self, action: str) -> list[dict[str, Any]]:
        """Return the journal's entries of an action."""

        async def work(house: Any) -> Any:
            rows = await house.database.fetch(
                "SELECT body FROM journal.entry WHERE action = $1 ORDER BY at, n", action
            )
            return [row["body"] for row in rows]

        return [json.loads(body) for body in self.admin(work)]


class Raw:
    """A client that is no browser: sends what it wants, and keeps cookies when told."""

    def __init__(self, site: Site) -> None:
        self._port = site.port
        self.host = f"localhost:{site.port}"
        self.origin = site.origin
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Any:
        return self.send("GET", path, None, **headers)

    def post(self, path: str, form: dict[str, str] | bytes, **headers: str) -> Any:
        """Send a form as a page of ours would; `headers` replace, empty ones take away."""
        given = {"origin": self.origin, "sec-fetch-site": "same-origin", **headers}
        return self.send("POST", path, form, **given)

    def send(self, method: str, path: str, form: Any, **headers: str) -> Any:
        sent = {"host": self.host}
        body = None
        if form is not None:
            body = form if isinstance(form, bytes) else urlencode(form).encode()
            sent["content-type"] = "application/x-www-form-urlencoded"
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value:
                connection.putheader(name, value)
        if body is not None:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.text = answer.read().decode()  # type: ignore[attr-defined]
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, text = value.partition(";")[0].partition("=")
                self.cookies[key] = text
        connection.close()
        return answer
