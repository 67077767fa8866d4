"""The vault as a process of its own: the same verbs over mutually authenticated TLS 1.3.

`Listener` and `Host` serve a `CardVault` and a `KeyDesk` to other processes; `Caller` is how these
see them. Frames are length-prefixed msgpack on a few kept-open connections; `table` derives each
call from the annotations of the two protocols, `peers` says which role may make it. `JoinHost`
gives services their certificates.
"""

from strongroom.vault.remote.calling import Caller
from strongroom.vault.remote.dialing import Dialer
from strongroom.vault.remote.hosting import Host
from strongroom.vault.remote.joining import JoinHost, come_back, join, renew, trusted_at
from strongroom.vault.remote.listening import Listener
from strongroom.vault.remote.tls import Files, joining_server_context

__all__ = [
    "Caller",
    "Dialer",
    "Files",
    "Host",
    "JoinHost",
    "Listener",
    "come_back",
    "join",
    "joining_server_context",
    "renew",
    "trusted_at",
]
