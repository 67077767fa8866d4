"""The people who run the installation: accounts, passkeys, sessions, and how they come and go.

A passkey signs in alone; a password only together with a one-time code. Sessions belong to one
device, rest after fifteen minutes and end everywhere within a second.
"""

from strongroom.identity.operators.flow import Operators
from strongroom.identity.operators.model import (
    Challenge,
    OperatorView,
    PasskeyView,
    RecoveryView,
    RelyingParty,
    SessionView,
    SignedIn,
    StepUp,
)
from strongroom.identity.operators.tickets import new_device

__all__ = [
    "Challenge",
    "OperatorView",
    "Operators",
    "PasskeyView",
    "RecoveryView",
    "RelyingParty",
    "SessionView",
    "SignedIn",
    "StepUp",
    "new_device",
]
