"""Break-glass: access in an emergency, for minutes, loud, and reviewed by others afterwards."""

from strongroom.access.break_glass.flow import BreakGlass
from strongroom.access.break_glass.model import Emergency, Review, purpose_of

__all__ = ["BreakGlass", "Emergency", "Review", "purpose_of"]
