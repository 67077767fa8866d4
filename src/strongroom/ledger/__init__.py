"""Accounts, postings, balances, and proofs that they sum to zero."""

from strongroom.ledger.flow import Ledger
from strongroom.ledger.model import Account, Balance, Movement, Posting, captured, refunded

__all__ = ["Account", "Balance", "Ledger", "Movement", "Posting", "captured", "refunded"]
