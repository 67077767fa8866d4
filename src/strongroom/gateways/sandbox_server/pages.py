"""The 3DS pages of the sandbox's issuers: plain HTML, no script, nothing unescaped."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from strongroom.gateways.sandbox_server.errors import invalid
from strongroom.gateways.sandbox_server.model import ChargeRow, Status

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:4rem auto;padding:0 1rem}"
    "form{display:inline}button{font:inherit;padding:.5rem 1rem;margin-right:.5rem}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def check_return_url(url: str) -> None:
    """Refuse a `return_url` that is not an absolute http(s) URL of visible ASCII."""
    wrong = invalid("return_url must be an absolute http or https URL.", param="return_url")
    if not all("!" <= char <= "~" for char in url) or any(char in '"<>\\^`{|}' for char in url):
        raise wrong
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        raise wrong from None
    if not fine or "@" in parts.netloc or any(char in parts.netloc for char in ";,'*"):
        raise wrong


def return_address(return_url: str, charge_id: str, result: str) -> str:
    """Return where the browser goes when 3DS is over; the caller's own query is kept."""
    parts = urlsplit(return_url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    query += [("charge", charge_id), ("result", result)]
    return urlunsplit(parts._replace(query=urlencode(query)))


def security_headers(return_url: str | None) -> tuple[tuple[str, str], ...]:
    """Return the page's headers; a form may end at its own origin and the return URL's."""
    targets = "'self'"
    if return_url is not None:
        parts = urlsplit(return_url)
        targets += f" {parts.scheme}://{parts.netloc}"
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {targets}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return (
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    )


def challenge(row: ChargeRow, path: str) -> str:
    """Return the page that asks the card holder to complete or fail."""
    amount = f"{row.amount} {row.currency} (minor units)"
    card = f"{row.brand} ending in {row.last4}"
    if row.state.status is not Status.ACTION_REQUIRED:
        return finished(row)
    return _page(
        f"<p>Your bank asks you to confirm <b>{escape(amount)}</b> with your {escape(card)}.</p>"
        f'<form method="post" action="{escape(path)}/complete"><button>Complete</button></form>'
        f'<form method="post" action="{escape(path)}/fail"><button>Fail</button></form>'
    )


def finished(row: ChargeRow) -> str:
    """Return the page for when there is nothing to do (any more)."""
    status = row.state.status.name.lower().replace("_", " ")
    return _page(f"<p>The payment is {escape(status)}. You can close this page.</p>")


def _page(content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Sandbox 3DS</title><style>{_STYLE}</style></head>"
        f"<body><h1>Sandbox bank</h1>{content}</body></html>"
    )
