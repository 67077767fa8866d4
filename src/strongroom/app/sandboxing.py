"""The sandbox gateway as a supervisor's child: secrets from files, ends with its supervisor."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from strongroom.app.lifeline import hold_on
from strongroom.app.settings import read_secret
from strongroom.gateways.sandbox_server import main as sandbox
from strongroom.keys import harden_process


def main(arguments: list[str]) -> int:
    """Run the sandbox gateway until it is stopped."""
    parser = argparse.ArgumentParser(prog="strongroom.app.sandboxing")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--webhook-url", required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    options = parser.parse_args(arguments)
    hold_on(options.lifeline)
    harden_process()
    return sandbox(
        port=options.port,
        secret=read_secret(options.data_dir / "sandbox.secret").reveal(),
        webhook_url=options.webhook_url,
        webhook_secret=read_secret(options.data_dir / "sandbox-webhook.secret").reveal(),
        webhook_events="async",
        state=options.data_dir / "sandbox.state",
        ready_file=options.ready_file,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
