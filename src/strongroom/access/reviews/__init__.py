"""Reviews of access: twice a year every right is looked at, kept or taken away (PCI DSS 7.2.4)."""

from strongroom.access.reviews.flow import Reviews
from strongroom.access.reviews.model import AccessReview, Decision, Kind, Line

__all__ = ["AccessReview", "Decision", "Kind", "Line", "Reviews"]
