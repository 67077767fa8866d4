"""Services that call the API on a certificate of ours: which may, as whom, and until when.

The certificate proves the SPIFFE id; what that id may do was registered by an operator. A revoked
certificate and a revoked registration are refused within a second, by every process.
"""

from strongroom.identity.workloads.flow import Workloads
from strongroom.identity.workloads.model import WorkloadSpec, WorkloadView

__all__ = ["WorkloadSpec", "WorkloadView", "Workloads"]
