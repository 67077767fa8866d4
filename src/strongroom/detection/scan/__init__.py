"""The finder: bytes in, card numbers out, masked. Pure; all reading is done around it."""

from strongroom.detection.scan.context import speaks_of_cards
from strongroom.detection.scan.finder import OVERLAP_BYTES, Finder
from strongroom.detection.scan.model import Confidence, Match

__all__ = ["OVERLAP_BYTES", "Confidence", "Finder", "Match", "speaks_of_cards"]
