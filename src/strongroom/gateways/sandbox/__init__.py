"""Our sandbox gateway's connector (docs/sandbox.md). Sends nothing itself."""

from strongroom.gateways.sandbox.connector import SandboxConnector

__all__ = ["SandboxConnector"]
