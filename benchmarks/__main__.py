"""``python -m benchmarks [NAME…] [--rounds N] [--json FILE]``: run all, or the named ones.

Every figure is a ratio to a named peer of the same round. Machines are noisy: read the medians, and
the load beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

NAMES = ("launch", "tunnel")


def main() -> int:
    """Run benchmarks and print a table for each."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, help="interleaved rounds of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    everything = {}
    for name in arguments.names or NAMES:
        module = import_module(f"benchmarks.{name}")
        print(f"\n{module.TITLE}", flush=True)
        rounds = module.run(arguments.rounds or module.ROUNDS)
        everything[name] = rounds
        report(module.PEER, rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=1))
    return 0


def report(peer: str, rounds: Sequence[dict[str, float]]) -> None:
    """Print the median of each figure and its ratio to the peer's of the same round."""
    print(f"{'':28} {'median':>10} {'min':>10} {'max':>10} {'/ ' + peer:>16}")
    for name in rounds[0]:
        values = [one[name] for one in rounds]
        ratio = statistics.median(one[name] / one[peer] for one in rounds)
        print(
            f"{name:28} {statistics.median(values):10.3f} {min(values):10.3f} "
            f"{max(values):10.3f} {ratio:16.3f}"
        )
    print(f"{len(rounds)} rounds; load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    sys.exit(main())
