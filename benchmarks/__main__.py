"""``python -m benchmarks [NAME…] [--rounds N] [--json FILE] [--plot DIR]``: all, or the named ones.

Every figure is a ratio to a named peer of the same round. Machines are noisy: read the medians, and
the load beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from benchmarks.plot import draw

NAMES = ("launch", "tunnel", "load", "elastic", "many", "tls")


def main() -> int:
    """Run benchmarks and print the tables of each."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, help="interleaved rounds of each (load: minutes)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there")
    parser.add_argument(
        "--plot", type=Path, metavar="DIR", help="draw the ratios there, as NAME.svg"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    everything = {}
    for name in arguments.names or NAMES:
        module = import_module(f"benchmarks.{name}")
        tables = module.run(arguments.rounds or module.ROUNDS)
        for table in tables:
            table.show()
        everything[name] = [asdict(table) for table in tables]
        if arguments.plot:
            draw(tables, arguments.plot / f"{name}.svg")
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
