"""Four eyes: what one person must not do alone waits for another one (PCI DSS 7.2.2, 6.5.4).

An approval is bound to the hash of one canonical action, is given by a person with a fresh second
factor, holds for minutes and for one use, and policies are asked again when it is used.
"""

from strongroom.access.approvals.asks import ASKS
from strongroom.access.approvals.flow import Approvals
from strongroom.access.approvals.model import (
    Approval,
    Page,
    Parameter,
    People,
    StepUp,
    Verdict,
)
from strongroom.access.approvals.using import Deed

__all__ = [
    "ASKS",
    "Approval",
    "Approvals",
    "Deed",
    "Page",
    "Parameter",
    "People",
    "StepUp",
    "Verdict",
]
