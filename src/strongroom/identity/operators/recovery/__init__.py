"""Recovery: a person who lost every factor enrolls anew when two other administrators say so."""

from strongroom.identity.operators.recovery.flow import Recoveries

__all__ = ["Recoveries"]
