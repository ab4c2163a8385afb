"""What many commands have in common when they are typed. Standard library only, as `parser`."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["SITE", "add", "settings"]

SITE = "name of a site, or path to a .toml profile (default: default_site of user.toml, or local)"


def add(commands: Any, name: str, handler: tuple[str, str], help: str) -> argparse.ArgumentParser:
    """Add a command; `handler` is its module in this room and its function there."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=help, allow_abbrev=False
    )
    parser.set_defaults(handler=handler)
    return parser


def settings(group: Any) -> None:
    """``--set``, as many commands have it."""
    group.add_argument(
        "--set",
        metavar="TABLE.KEY=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="override any key of the site's profile; may be repeated",
    )
