"""The sandbox gateway: a real HTTP server that behaves like a card gateway and its issuers.

It knows nothing of the rest of the house and shares no code with the connector that talks to it,
so that the two prove each other. Its protocol, cards, faults and control calls stand in
docs/sandbox.md. It refuses to keep card numbers: a number is forgotten when its answer is made.
"""

from strongroom.gateways.sandbox_server.server import Settings, main, serve
from strongroom.gateways.sandbox_server.thread import running

__all__ = ["Settings", "main", "running", "serve"]
