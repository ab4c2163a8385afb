"""``python -m benchmarks [NAME…] [--rounds N] [--json FILE] [--plot DIR]``: all, or the named ones.

``storage`` alone takes ``--tasks``, ``--size``, ``--data`` and ``--without`` too.

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

NAMES = ("launch", "tunnel", "load", "elastic", "many", "tls", "storage")


def main() -> int:
    """Run benchmarks and print the tables of each."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, help="interleaved rounds of each (load: minutes)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there")
    parser.add_argument(
        "--plot", type=Path, metavar="DIR", help="draw the ratios there, as NAME.svg"
    )
    storage = parser.add_argument_group("storage")
    storage.add_argument("--tasks", action="append", default=[], metavar="NAME", help="only these")
    storage.add_argument("--size", choices=("full", "tenth"), default="tenth", help="of the files")
    storage.add_argument("--data", type=Path, metavar="DIR", help="where the files are kept")
    storage.add_argument(
        "--without", action="append", default=[], metavar="PEER", help="a peer that is too slow"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    everything = {}
    for name in arguments.names or NAMES:
        module = import_module(f"benchmarks.{name}")
        rounds = arguments.rounds or module.ROUNDS
        if name == "storage":
            how = arguments.tasks, arguments.size, arguments.data, arguments.plot
            tables = module.run(rounds, *how, arguments.without)
        else:
            tables = module.run(rounds)
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
