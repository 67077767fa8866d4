"""Online rotation of every level of keys: jobs that go on after a crash, and what they do."""

from strongroom.keys.rotation.flow import Rotation
from strongroom.keys.rotation.model import Cards, Job, Level

__all__ = ["Cards", "Job", "Level", "Rotation"]
