"""Fuzzes: `python -m tests.fuzz --runs 20000` all parsers in turn, or one for `--seconds`."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=[
        "strongroom.api", "strongroom.gateways", "strongroom.outbound", "strongroom.identity",
        "strongroom.journal.note", "strongroom.kernel",
    ]
):  # fmt: skip
    from tests.fuzz.targets import SEEDS, TARGETS


def main(arguments: list[str]) -> None:
    """Run until the runs or the time are over; a finding ends the program with its bytes."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS))
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, default=Path(".cache/fuzz"))
    options = parser.parse_args(arguments)
    chosen = [options.target] if options.target else sorted(TARGETS)

    def one(data: bytes) -> None:
        """The first byte says which parser gets the rest."""
        if data:
            TARGETS[chosen[data[0] % len(chosen)]](data[1:])

    options.corpus.mkdir(parents=True, exist_ok=True)
    _begin(options.corpus, chosen)
    flags = [f"-seed={options.seed}", "-max_len=2000", "-timeout=10", "-verbosity=0"]
    flags += [f"-runs={options.runs}"] if options.runs else []
    flags += [f"-max_total_time={options.seconds}"] if options.seconds else []
    atheris.Setup(["fuzz", *flags, str(options.corpus)], one)
    atheris.Fuzz()


def _begin(folder: Path, chosen: list[str]) -> None:
    """Write what fuzzing starts from: one honest text for each parser, and random ones."""
    chance = random.Random(1)  # noqa: S311 (test data)
    for number, name in enumerate(chosen):
        for at, seed in enumerate((*SEEDS[name], chance.randbytes(60))):
            (folder / f"{name}-{at}").write_bytes(bytes([number]) + seed)


if __name__ == "__main__":
    main(sys.argv[1:])
