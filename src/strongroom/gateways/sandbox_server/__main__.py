"""`python -m strongroom.gateways.sandbox_server`: the gateway without the rest of the program."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from strongroom.gateways.sandbox_server.server import main


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sandbox_server",
        description="A card gateway with its issuers, for tests. Keys come from the environment: "
        "STRONGROOM_SANDBOX_SECRET, STRONGROOM_SANDBOX_WEBHOOK_SECRET.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--public-url")
    parser.add_argument("--webhook-url")
    parser.add_argument("--webhook-events", choices=("all", "async"), default="all")
    parser.add_argument("--state", type=Path)
    parser.add_argument("--ready-file", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    sys.exit(
        main(
            given.host,
            given.port,
            secret=os.environ.get("STRONGROOM_SANDBOX_SECRET"),
            webhook_url=given.webhook_url,
            webhook_secret=os.environ.get("STRONGROOM_SANDBOX_WEBHOOK_SECRET"),
            webhook_events=given.webhook_events,
            public_url=given.public_url,
            state=given.state,
            ready_file=given.ready_file,
        )
    )
