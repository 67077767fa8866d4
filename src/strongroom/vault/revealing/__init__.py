"""Reveal, the second way out of the vault: one card number or many, never more than allowed."""

from strongroom.vault.revealing.decide import PURPOSES, Ask
from strongroom.vault.revealing.flow import Reveals
from strongroom.vault.revealing.granting import Grants

__all__ = ["PURPOSES", "Ask", "Grants", "Reveals"]
