"""Cards that browsers and apps encrypted: checked strictly, opened once, then cards like others.

Nothing ambiguous is taken: no second algorithm, no unknown header, no encoding that is not the only
one. Every refusal before authentication is one answer.
"""

from strongroom.vault.client_encryption.flow import CardOpener, EncryptedCards

__all__ = ["CardOpener", "EncryptedCards"]
