"""Tables of TOML with comments, in which no text of a site can be more than text. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tomlkit
from tomlkit.items import Comment, Item, Table

from hpclaunch.shell import printable

__all__ = ["note", "table", "told"]


def table(notes: Iterable[str] = (), **values: Any) -> Table:
    """A table with lines of comment above its keys; values that are None are left out."""
    made = tomlkit.table()
    for line in notes:
        made.add(note(line))
    for key, value in values.items():
        if value is not None:
            made.add(key, value if isinstance(value, Item) else tomlkit.item(value))
    return made


def told(value: Any, comment: str) -> Item:
    """A value with a comment behind it."""
    item: Item = tomlkit.item(value)
    item.comment(printable(comment))
    item.trivia.comment_ws = "  "
    return item


def note(line: str) -> Comment:
    """A line of comment."""
    return tomlkit.comment(printable(line))
