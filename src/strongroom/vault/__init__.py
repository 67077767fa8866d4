"""The vault: the one door for card data.

Cards come in and become tokens. Clear card data leaves by two functions only: `forward`, which
fills a gateway's request and sends it to an allow-listed host, and `reveal`, after policy, purpose
and journal entry. A security code is never stored: it waits in memory, sealed under its own key.
"""

from strongroom.vault.desk import VaultDesk
from strongroom.vault.egress import (
    EgressPolicy,
    Encoding,
    GatewayAnswer,
    NotSent,
    OutboundRequest,
    OutcomeUnknown,
    Slot,
)
from strongroom.vault.flow import CardVault
from strongroom.vault.importing import ImportFiles
from strongroom.vault.model import (
    CardInput,
    CvcHandle,
    KeyDocument,
    Revealed,
    TokenKind,
    TokenView,
    Vault,
)
from strongroom.vault.revealing import PURPOSES

__all__ = [
    "PURPOSES",
    "CardInput",
    "CardVault",
    "CvcHandle",
    "EgressPolicy",
    "Encoding",
    "GatewayAnswer",
    "ImportFiles",
    "KeyDocument",
    "NotSent",
    "OutboundRequest",
    "OutcomeUnknown",
    "Revealed",
    "Slot",
    "TokenKind",
    "TokenView",
    "Vault",
    "VaultDesk",
]
