"""Keys of data subjects: one person's cards under one key, and its destruction that can be proved.

A key is made at the person's first card and found by a keyed hash of the merchant's reference. To
shred is to destroy the key and, in the same transaction, the cards; a signed receipt says so, and a
ledger outside the database shreds again whatever a restored backup revives.
"""

from strongroom.keys.subjects.flow import SubjectKeys
from strongroom.keys.subjects.ledger import ShredLedger
from strongroom.keys.subjects.model import Shredded
from strongroom.keys.subjects.receipt import verify_receipt

__all__ = ["ShredLedger", "Shredded", "SubjectKeys", "verify_receipt"]
