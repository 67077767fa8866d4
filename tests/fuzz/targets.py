"""What is fuzzed: each parser takes the bytes or refuses them by its own error, nothing else.

A target raises when a parser breaks its word: another exception than its own, or two readings of
one text.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime

from strongroom.api import requestline, strict
from strongroom.api.headers import check_json, idempotency_key
from strongroom.api.intake import _pairs
from strongroom.api.proxies import Proxies
from strongroom.api.routes import ENDPOINTS
from strongroom.api.settings import ApiSettings
from strongroom.gateways import OperationKind
from strongroom.identity.keytext import parse as parse_key
from strongroom.journal.note import parse_checkpoint
from strongroom.journal.note import parse_key as parse_note_key
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import uuid_of
from strongroom.kernel.screen import free_text_holds_card_number
from strongroom.outbound.addresses import address_allowed
from strongroom.outbound.decide import locate
from strongroom.vault import GatewayAnswer
from tests.gateways.connectors_support import WEBHOOK_SECRET, operation, sandbox, stripe

BODIES = [e.request for e in ENDPOINTS if e.request is not None]
TRUSTING = {
    header: Proxies(
        ApiSettings(
            mode="test", proxy_networks=("10.0.0.0/8",), proxy_header=header,  # type: ignore[arg-type]
            proxy_certificates=True,
        )
    )
    for header in ("x-forwarded-for", "forwarded")
}  # fmt: skip
CONNECTORS = (sandbox(), stripe())
HEADERS = ("sandbox-signature", "stripe-signature")
AT = 1_800_000_000
NOW = datetime.fromtimestamp(AT, UTC)
OPERATIONS = [operation(kind, gateway_reference="ch_1") for kind in OperationKind]


def refusing(read: Callable[[], object]) -> object:
    """Run a parser; its own refusal is an answer."""
    try:
        return read()
    except StrongroomError:
        return None


def bodies(data: bytes) -> None:
    value = refusing(lambda: strict.decode(data))
    if value is None:
        return
    assert json.loads(data) == value, "another reader reads something else"
    for body in BODIES:
        refusing(lambda body=body: strict.convert(value, body))  # type: ignore[misc]


def heads(data: bytes) -> None:
    url, _, rest = data.partition(b"\n")
    pairs = [line.partition(b":")[::2] for line in rest.split(b"\n")]
    requestline.fault("1.1", "POST", url, [(b"host", b"x"), *pairs])
    text = data.decode("latin-1")
    refusing(lambda: idempotency_key(text))
    refusing(lambda: check_json(text))
    refusing(lambda: _pairs(data[:2_048]))


def forwarding(data: bytes) -> None:
    text = data.decode("latin-1")
    for header, proxies in TRUSTING.items():
        name = header.encode()
        refusing(lambda p=proxies, n=name: p.source("10.0.0.1", [(n, data)]))  # type: ignore[misc]
        refusing(lambda p=proxies: p.peer("10.0.0.1", None, text))  # type: ignore[misc]
        # What the caller writes never changes what a proxy appends.
        if header == "x-forwarded-for" and len(data) < 1_000:
            assert proxies.source("10.0.0.1", [(name, data + b",192.0.2.7")]) == "192.0.2.7"


def urls(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    located = locate(text)
    if located is not None:
        assert text.isascii() and located.host in text.lower() and "@" not in located.host
    address_allowed(text, private=True)


def answers(data: bytes) -> None:
    for connector in CONNECTORS:
        for op in OPERATIONS:
            connector.parse(op, GatewayAnswer(200, data))
            connector.parse_inquiry(op, GatewayAnswer(200, data))
    for connector, header in zip(CONNECTORS, HEADERS, strict=True):
        signed = hmac.new(WEBHOOK_SECRET.encode(), b"%d." % AT + data, "sha256").hexdigest()
        headers = {header: f"t={AT},v1={signed}"}
        refusing(lambda c=connector, h=headers: c.parse_webhook(h, data, now=NOW))  # type: ignore[misc]


def texts(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    refusing(lambda: strict.check_printable(text, param="x"))
    refusing(lambda: parse_key(text))
    refusing(lambda: uuid_of(text, "pay"))
    refusing(lambda: parse_note_key(text))
    refusing(lambda: parse_checkpoint(text))
    free_text_holds_card_number(text)


TARGETS = {
    "bodies": bodies,
    "heads": heads,
    "forwarding": forwarding,
    "urls": urls,
    "answers": answers,
    "texts": texts,
}
SEEDS: dict[str, tuple[bytes, ...]] = {
    "bodies": (
        b'{"amount":1,"currency":"EUR","payment_method":{"token":"tok_' + b"0" * 26 + b'"}}',
        b'{"card":{"number":"4242424242424242","exp_month":1,"exp_year":2031,"cvc":"123"}}',
    ),
    "heads": (b"/v1/payments?limit=1\ncontent-length:2", b"http://x/\ntransfer-encoding:chunked"),
    "forwarding": (b"192.0.2.1, 10.0.0.2", b'for="[2001:db8::1]:80";proto=https', b":YQ==:"),
    "urls": (b"https://shop.example:443/a?b=%20", b"https://[::ffff:7f00:1]/", b"64:ff9b::1"),
    "answers": (b'{"id":"ch_1","object":"charge","status":"authorized","amount":1}',),
    "texts": ("sr_test_sk_abc Ångström 4242 4242 4242 4242".encode(), b"name+abcdef01+AAAA"),
}
