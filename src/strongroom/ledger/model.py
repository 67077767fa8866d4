"""Accounts, transactions and postings: frozen values of double-entry bookkeeping."""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec


class Account(enum.Enum):
    """The accounts each merchant has in each currency."""

    GATEWAY_RECEIVABLE = "gateway_receivable"
    """Asset: what gateways owe after captures, less refunds."""

    MERCHANT_PAYABLE = "merchant_payable"
    """Liability: what is owed to the merchant."""


class Movement(msgspec.Struct, frozen=True):
    """Money that moves from one account (credited) to another (debited), in minor units."""

    debit: Account
    credit: Account
    amount_minor: int
    currency: str


class Posting(msgspec.Struct, frozen=True):
    """One line of a transaction; `amount_minor` is positive for debit, negative for credit."""

    transaction: str
    line: int
    payment: str
    operation: str
    account: Account
    currency: str
    amount_minor: int
    at: datetime


class Balance(msgspec.Struct, frozen=True):
    """Totals of one account in one currency, in minor units."""

    account: Account
    currency: str
    debit_minor: int
    credit_minor: int

    @property
    def balance_minor(self) -> int:
        """Debits less credits."""
        return self.debit_minor - self.credit_minor


def captured(amount_minor: int, currency: str) -> Movement:
    """Return the movement of a capture: the gateway now owes it, and we owe it to the merchant."""
    return Movement(Account.GATEWAY_RECEIVABLE, Account.MERCHANT_PAYABLE, amount_minor, currency)


def refunded(amount_minor: int, currency: str) -> Movement:
    """Return the movement of a refund: the reverse of a capture."""
    return Movement(Account.MERCHANT_PAYABLE, Account.GATEWAY_RECEIVABLE, amount_minor, currency)
