"""One payment and all that tells of it: what the merchant sees, the books, the journal's proofs.

Every journal entry is checked here, with the journal's public key, and not taken on the service's
word.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from strongroom.cli.client import Answer, Client, expect
from strongroom.journal import Proof, verify_proof
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from strongroom.kernel.money import Money

if TYPE_CHECKING:
    from rich.console import Console

_CARD = {
    "number": "4242424242424242",
    "exp_month": 12,
    "exp_year": 2031,
    "cvc": "123",
    "holder_name": "Ada Example",
}
"""A published test card number."""

_WIDE = 115
"""Columns that the journal's table needs to show ids of entries too."""


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """A journal entry and what checking its proof said: empty `fault` means it holds."""

    id: str
    at: str
    action: str
    outcome: str
    subject: str
    index: int
    hashes: int
    fault: str = ""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A payment with its postings and proven journal entries; times in milliseconds."""

    payment: dict[str, Any]
    postings: list[dict[str, Any]]
    postings_sum: int
    journal: list[Proven]
    checkpoint_size: int
    checkpoint_root: str
    journal_key: str
    payment_ms: float
    proof_ms: float
    proven: bool


def pay(client: Client, *, amount: int = 1099, currency: str = "EUR") -> Answer:
    """Take a payment with a test card, captured at once."""
    body = {
        "amount": amount,
        "currency": currency,
        "capture_method": "automatic",
        "payment_method": {"card": _CARD},
        "reference": "first-payment",
    }
    answer = client.post("/v1/payments", body, idempotency_key=new_id("idem"))
    expect(answer, 201)
    return answer


def collect(client: Client, paid: Answer, *, public_key: str) -> Receipt:
    """Read what the service keeps of a payment and check it."""
    payment = paid.data
    postings = expect(client.get(f"/v1/payments/{payment['id']}/postings"), 200)["data"]
    began = time.monotonic()
    token = payment["payment_method"]["token"]
    entries = [
        entry
        for subject in (token, payment["id"])
        for entry in expect(client.get(f"/v1/journal/entries?subject={quote(subject)}"), 200)[
            "data"
        ]
    ]
    journal = [_proven(client, entry, public_key) for entry in entries]
    checkpoint = expect(client.get("/v1/journal/checkpoint"), 200)
    total = sum(posting["amount"] for posting in postings)
    return Receipt(
        payment=payment,
        postings=postings,
        postings_sum=total,
        journal=sorted(journal, key=lambda entry: entry.index),
        checkpoint_size=checkpoint["size"],
        checkpoint_root=checkpoint["root"],
        journal_key=public_key,
        payment_ms=paid.elapsed_ms,
        proof_ms=(time.monotonic() - began) * 1000,
        proven=bool(journal) and total == 0 and not any(entry.fault for entry in journal),
    )


def _proven(client: Client, entry: dict[str, Any], public_key: str) -> Proven:
    """Check one entry's proof; what it tells must be what is proven."""
    data = expect(client.get(f"/v1/journal/entries/{entry['id']}/proof"), 200)
    proof = msgspec.convert(data, Proof)
    fault = ""
    try:
        recorded = verify_proof(proof, public_key=public_key)
        if (recorded.id, recorded.action) != (entry["id"], entry["action"]):
            fault = "the proof is of another entry"
    except StrongroomError as error:
        fault = error.public
    return Proven(
        id=entry["id"],
        at=entry["at"],
        action=entry["action"],
        outcome=entry["outcome"],
        subject=entry["subject"],
        index=proof.index,
        hashes=len(proof.hashes),
        fault=fault,
    )


def show(out: Console, receipt: Receipt) -> None:
    """Print a receipt for people."""
    out.print()
    out.print("Receipt", style="bold")
    out.print(_facts(receipt.payment))
    out.print()
    out.print("Postings", style="bold")
    out.print(_postings(receipt))
    out.print("Journal", style="bold")
    out.print(_journal(receipt, with_ids=out.width >= _WIDE))
    good = sum(not entry.fault for entry in receipt.journal)
    out.print(
        f"{good} of {len(receipt.journal)} inclusion proofs checked here against the signed "
        f"checkpoint of {receipt.checkpoint_size} entries"
    )
    out.print(f"root {receipt.checkpoint_root}")
    out.print(f"key  {receipt.journal_key}", soft_wrap=True)
    out.print(
        f"payment {receipt.payment_ms:.0f} ms, reading and checking the journal "
        f"{receipt.proof_ms:.0f} ms"
    )


def _facts(payment: dict[str, Any]) -> Any:
    from rich.table import Table

    from strongroom.cli.show import clean

    card = payment["payment_method"]["card"]
    expiry = f"{card['exp_month']:02d}/{card['exp_year']}"
    facts = {
        "payment": payment["id"],
        "status": payment["status"],
        "amount": Money(payment["amount"], payment["currency"]).text(),
        "card": f"{card['brand']} {masked(card)}, expires {expiry}",
        "token": payment["payment_method"]["token"],
        "gateway": f"{payment['gateway']['name']} {payment['gateway']['reference']}",
    }
    made = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        made.add_row(name, clean(value))
    return made


def _postings(receipt: Receipt) -> Any:
    from strongroom.cli.show import table

    currency = receipt.payment["currency"]
    rows = [
        (p["transaction"], p["account"], Money(p["amount"], p["currency"]).text())
        for p in receipt.postings
    ]
    rows.append(("", "sum", Money(receipt.postings_sum, currency).text()))
    return table(("transaction", "account", ">amount"), rows)


def _journal(receipt: Receipt, *, with_ids: bool) -> Any:
    from strongroom.cli.show import table

    columns = [">index", "at", "action", "outcome", "proof (hashes)"]
    rows = [
        [
            entry.index,
            entry.at[11:-1],
            entry.action,
            entry.outcome,
            entry.fault or f"holds ({entry.hashes})",
        ]
        for entry in receipt.journal
    ]
    if with_ids:
        columns.append("entry")
        rows = [[*row, entry.id] for row, entry in zip(rows, receipt.journal, strict=True)]
    return table(columns, rows)


def masked(card: dict[str, Any]) -> str:
    """Return a card number as receipts show it."""
    return f"{card['bin']} •••• {card['last4']}"
