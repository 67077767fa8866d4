"""The documentation page: plain HTML from the route declarations. No script, no third party."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from strongroom.api import headers, openapi, problems
from strongroom.api.endpoint import Endpoint

_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"><title>Strongroom API</title>'
    '<link rel="stylesheet" href="/docs.css"></head><body><main>'
)

STYLE = b"""body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1f; margin: 0 }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
td, th { border-bottom: 1px solid #ddd; padding: .4rem .6rem }
td, th { text-align: left; vertical-align: top }
code { font: .9em ui-monospace, monospace }
tr:target { background: #fff3c4 }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6ea; background: #17171a } td, th { border-color: #3a3a40 }
  a { color: #8ab4f8 } tr:target { background: #4a3f10 }
}
"""


def html(endpoints: Sequence[Endpoint]) -> bytes:
    """Return the page: every route, every error code."""
    parts = [
        _HEAD,
        f"<h1>Strongroom API <small>{headers.VERSIONS[0]}</small></h1>",
        '<p>Machine-readable: <a href="/openapi.json">openapi.json</a> (OpenAPI 3.1).</p>',
        "<h2>Routes</h2><table><tr><th>Route<th>What it does<th>Action<th>Codes of its own</tr>",
        *(_route(endpoint) for endpoint in endpoints),
        "</table><h2>Errors</h2><table><tr><th>Code<th>Status<th>Meaning</tr>",
        *(_error(code, *told) for code, told in sorted(problems.PROBLEMS.items())),
        "</table></main></body></html>",
    ]
    return "\n".join(parts).encode()


def documents(endpoints: Sequence[Endpoint]) -> dict[str, tuple[bytes, bytes]]:
    """Return the documents that describe the API: path to media type and bytes."""
    return {
        "/openapi.json": (headers.JSON, openapi.document(endpoints)),
        "/docs": (b"text/html; charset=utf-8", html(endpoints)),
        "/docs.css": (b"text/css; charset=utf-8", STYLE),
    }


def _route(endpoint: Endpoint) -> str:
    codes = " ".join(f'<a href="#{code}"><code>{code}</code></a>' for code in endpoint.errors)
    key = " <em>Idempotency-Key</em>" if endpoint.keyed else ""
    return (
        f"<tr><td><code>{endpoint.method} {escape(endpoint.path)}</code>"
        f"<td>{escape(endpoint.summary)}.{key}<td><code>{escape(endpoint.action)}</code><td>{codes}</tr>"
    )


def _error(code: str, status: int, title: str) -> str:
    return f'<tr id="{code}"><td><code>{code}</code><td>{status}<td>{escape(title)}</tr>'
