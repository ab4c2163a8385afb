"""What can be typed about data files. Standard library only, as `parser`."""

from __future__ import annotations

from typing import Any

from hpclaunch.cli.options import add

__all__ = ["add_data"]


def add_data(commands: Any) -> None:
    """``data`` and its verbs."""
    data = commands.add_parser(
        "data", help="NetCDF-4 and HDF5 files: inspect, index.", allow_abbrev=False
    )
    verbs = data.add_subparsers(metavar="VERB", required=True)
    inspect = add(
        verbs,
        "inspect",
        ("data", "inspect"),
        "Say how files are laid out, where they lie, and what makes reading them slow.",
    )
    inspect.add_argument("files", nargs="+", metavar="FILE")
    inspect.add_argument(
        "--chunks", metavar="VAR", help="list every chunk of this variable instead"
    )
    inspect.add_argument("--json", action="store_true", help="print a JSON array, one per file")
    index = add(
        verbs,
        "index",
        ("data", "index"),
        "Make the chunk indices of files beforehand, so that they are opened without waiting.",
    )
    index.add_argument("files", nargs="+", metavar="FILE")
    index.add_argument(
        "--processes", metavar="N", type=int, help="so many at a time (default: as many as cores)"
    )
    index.add_argument("--json", action="store_true", help="print a JSON document")
