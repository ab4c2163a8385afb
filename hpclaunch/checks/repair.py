"""Write what was found into the text of a profile; comments stay. Pure."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from hpclaunch.checks.line import Fix
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.sites.layers import Place

__all__ = ["difference", "mendable", "repaired"]

_HEAD = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(?:#.*)?$")


def mendable(loaded: LoadedSite, fix: Fix) -> bool:
    """Whether it is the profile that says so, and not the user's own file or an option."""
    file, place = str(loaded.path), fix.place
    above = place if place[-1].isdigit() else place[:-1]
    inside = [origin for known, origin in loaded.origins.items() if known[: len(above)] == above]
    return file in inside and loaded.origin(*place) in (file, "default")


def repaired(text: str, fixes: Iterable[Fix], today: date) -> str:
    """The profile with its fixes in it, and `today` where a table says when it was checked.

    Parameters
    ----------
    text : str
        TOML.
    fixes : iterable of Fix
    today : date
    """
    import tomlkit

    document = tomlkit.parse(text)
    removals: list[Place] = []
    for fix in fixes:
        if fix.value is None:
            removals.append(fix.place)
            continue
        table = _at(document, fix.place[:-1])
        _put(table, fix.place[-1], fix.value)
        if "checked_on" in table:
            _put(table, "checked_on", today)
    if "checked_on" in document:
        _put(document, "checked_on", today)
    text = tomlkit.dumps(document)
    # The last entry of a list first: the others keep their numbers so long.
    for place in sorted(removals, key=_order, reverse=True):
        text = _without(text, place)
    return text


def difference(old: str, new: str, name: str) -> Sequence[str]:
    """The lines of a unified diff, without their ends."""
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), f"{name} (as it was)", name, lineterm="", n=2
    )
    return list(lines)


def _order(place: Place) -> list[int]:
    return [int(part) if part.isdigit() else -1 for part in place]


def _at(document: Any, place: Place) -> Any:
    for part in place:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _put(table: Any, key: str, value: Any) -> None:
    """Set a value; the comment behind the old one stays."""
    import tomlkit

    item = tomlkit.item(value)
    old = table.item(key) if key in table else None
    if old is not None:
        item.trivia.comment_ws, item.trivia.comment = old.trivia.comment_ws, old.trivia.comment
    table[key] = item


def _without(text: str, place: Place) -> str:
    """The text without a key, or without an entry of a list and what is written inside it.

    Comments behind a table belong to what follows it, and stay.
    """
    import tomlkit

    document: Any = tomlkit.parse(text)
    table = _at(document, place[:-1])
    if isinstance(table, list):
        del table[int(place[-1])]
        if not table:
            del _at(document, place[:-2])[place[-2]]
    else:
        del table[place[-1]]
    wanted = document.unwrap()
    cut = _cut(text, place) if len(place) == 2 and isinstance(table, list) else None
    if cut is not None and tomllib.loads(cut) == wanted:
        return cut
    return tomlkit.dumps(document)


def _cut(text: str, place: Place) -> str | None:
    """Cut the lines of one ``[[table]]`` out, up to its last value; None where there is none."""
    name, number = place[0], int(place[1])
    lines = text.splitlines(keepends=True)
    heads = [index for index, line in enumerate(lines) if _HEAD.match(line)]
    starts = [index for index in heads if _named(lines[index]) == name]
    if number >= len(starts):
        return None
    begin = starts[number]
    inside = (f"{name}.",)
    after = [at for at in heads if at > begin and not _named(lines[at]).startswith(inside)]
    end = after[0] if after else len(lines)
    while end > begin + 1 and _bare(lines[end - 1]):
        end -= 1
    while end < len(lines) and not lines[end].strip():
        end += 1  # the empty lines before it stay, those behind it go
    return "".join(lines[:begin] + lines[end:])


def _named(head: str) -> str:
    match = _HEAD.match(head)
    return match[1].strip() if match else ""


def _bare(line: str) -> bool:
    """Whether a line says nothing to the machine."""
    return not line.partition("#")[0].strip()
