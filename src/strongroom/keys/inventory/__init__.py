"""The inventory of cryptography: every key, certificate, protocol, algorithm and library in use.

For assessors (PCI DSS 3.6.1.1, 4.2.1.1, 12.3.3) and for the move to post-quantum algorithms; as
lines, and as a CycloneDX 1.6 cryptography bill of materials. No key is opened for it.
"""

from strongroom.keys.inventory.cyclonedx import document
from strongroom.keys.inventory.decide import alarms
from strongroom.keys.inventory.flow import collect
from strongroom.keys.inventory.model import Alarm, Asset, Inventory, Tls

__all__ = ["Alarm", "Asset", "Inventory", "Tls", "alarms", "collect", "document"]
