"""Detection: looks for card data where none may be, and keeps what was found until it is mended.

The finder (`scan/`) is pure and never lets a clear number out; everything else reads for it.
"""

from strongroom.detection.files import FileScanner
from strongroom.detection.flow import ALL_STATES, UNRESOLVED, Detection
from strongroom.detection.model import Finding, Report, Resolution
from strongroom.detection.scan import Confidence, Finder
from strongroom.detection.tables import scan_tables

__all__ = [
    "ALL_STATES",
    "UNRESOLVED",
    "Confidence",
    "Detection",
    "FileScanner",
    "Finder",
    "Finding",
    "Report",
    "Resolution",
    "scan_tables",
]
