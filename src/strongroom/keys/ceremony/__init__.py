"""Ceremonies: a root key that opens only when m of n custodians bring their shares.

The waiting side has a `Session`; a custodian's side makes an answer with his own key. Shares are
encrypted to custodians at rest and to one waiting process on the way, never in clear.
"""

from strongroom.keys.ceremony.channel import (
    SOCKETS,
    Reply,
    Request,
    encoded,
    hand_in,
    peer_is_ours,
    reachable,
    read_line,
    session_card,
)
from strongroom.keys.ceremony.holding import ROOT_FD, held_roots, hold, key_pipe
from strongroom.keys.ceremony.model import (
    Answer,
    Holder,
    Purpose,
    RootFile,
    SessionCard,
    ShareFile,
    answer_statement,
    fingerprint,
    new_set,
    verified_statement,
)
from strongroom.keys.ceremony.session import Session, answer_to
from strongroom.keys.ceremony.shares_root import (
    create_root_file,
    new_root,
    parse_root,
    parse_share,
    prove_share,
    read_root,
    share_out,
)
from strongroom.keys.ceremony.transcript import Transcript, head_of, verify

__all__ = [
    "ROOT_FD",
    "SOCKETS",
    "Answer",
    "Holder",
    "Purpose",
    "Reply",
    "Request",
    "RootFile",
    "Session",
    "SessionCard",
    "ShareFile",
    "Transcript",
    "answer_statement",
    "answer_to",
    "create_root_file",
    "encoded",
    "fingerprint",
    "hand_in",
    "head_of",
    "held_roots",
    "hold",
    "key_pipe",
    "new_root",
    "new_set",
    "parse_root",
    "parse_share",
    "peer_is_ours",
    "prove_share",
    "reachable",
    "read_line",
    "read_root",
    "session_card",
    "share_out",
    "verified_statement",
    "verify",
]
