"""Keys: the root's provider, key-encryption keys, merchants' keys, the journal's signing key.

root → KEK[purpose, region, version] → DEK and index key of each merchant → sealed records. Every
level is AES-256-GCM with the key's own record as additional data. No clear key leaves this room;
the rooms above get objects that seal, open, hash or sign.
"""

from strongroom.keys.client_keys import PublicClientKey
from strongroom.keys.desk import KeyDesk, LocalDesk
from strongroom.keys.flow import Keyring
from strongroom.keys.material import DataKey, IndexKey
from strongroom.keys.memory import harden_process, key_pages
from strongroom.keys.model import Context, KeyHash, KeyInfo, Mode, RootProvider
from strongroom.keys.one_time import OneTimeSecret
from strongroom.keys.roots.sealed_file import SealedFileRoot
from strongroom.keys.subjects import Shredded, ShredLedger
from strongroom.keys.token_keys import AccessToken, PublicTokenKey

__all__ = [
    "AccessToken",
    "Context",
    "DataKey",
    "IndexKey",
    "KeyDesk",
    "KeyHash",
    "KeyInfo",
    "Keyring",
    "LocalDesk",
    "Mode",
    "OneTimeSecret",
    "PublicClientKey",
    "PublicTokenKey",
    "RootProvider",
    "SealedFileRoot",
    "ShredLedger",
    "Shredded",
    "harden_process",
    "key_pages",
]
