"""Write ``docs/profile.md``, every key of a profile: ``python -m tests.support.profile_page``.

The words are the docstrings of the model, as ``hpclaunch site schema`` has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpclaunch.sites.schema import profile_schema

__all__ = ["PAGE", "page", "tables"]

PAGE = Path(__file__).parents[2] / "docs" / "profile.md"

_EVERYWHERE = ("source", "checked_on")
_HEAD = """\
# Every key of a site profile

This page is made from the model that reads profiles (`python -m tests.support.profile_page`); the
same words are in `hpclaunch site schema`, from which editors complete and check. How a profile
comes to be is told in [sites.md](sites.md), with examples.

Walltimes are text such as `"2:30:00"`, `"1-00:00:00"` or `"90m"`; memory is text with a unit, as
`"4 GB"` or `"512 MiB"` have. Lists may be left out or empty. An unknown key is an error everywhere.
"""
_COLUMNS = ("| key | what it holds | by default | meaning |", "|---|---|---|---|")


def page() -> str:
    """The text of the page."""
    document = profile_schema()
    everywhere = [_row(document, key) for key in _EVERYWHERE]
    parts = [_HEAD, "In every table:", "", *_COLUMNS, *everywhere]
    for heading, table in tables(document):
        rows = [_row(table, key) for key in table["properties"] if key not in _EVERYWHERE]
        about = " ".join(table["description"].replace("``", "`").split())
        parts += ["", f"## {heading}", "", about, "", *_COLUMNS, *rows]
    return "\n".join([*parts, ""])


def tables(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every table of a profile with its heading, each below the one that holds it."""
    yield "At the top", document
    yield from _inner(document, document["$defs"], ())


def _inner(
    table: dict[str, Any], known: dict[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, entry in table["properties"].items():
        name, many, named = _table_in(entry)
        if name is None:
            continue
        place = (*above, key, *(["NAME"] if named else []))
        heading = f"`[[{'.'.join(place)}]]`" if many else f"`[{'.'.join(place)}]`"
        yield heading, known[name]
        yield from _inner(known[name], known, place)


def _table_in(entry: dict[str, Any]) -> tuple[str | None, bool, bool]:
    """The table that a key holds, whether it holds a list of them, and whether by name."""
    for one in entry.get("anyOf", [entry]):
        if "$ref" in one:
            return one["$ref"].rpartition("/")[2], False, False
        if "$ref" in one.get("items", {}):
            return one["items"]["$ref"].rpartition("/")[2], True, False
        for inner in one.get("patternProperties", {}).values():
            if "$ref" in inner:
                return inner["$ref"].rpartition("/")[2], False, True
    return None, False, False


def _row(table: dict[str, Any], key: str) -> str:
    entry = table["properties"][key]
    text = " ".join(entry["description"].replace("``", "`").split()).replace("|", "\\|")
    needed = key in table.get("required", ())
    return f"| `{key}` | {_kind(entry)} | {'needed' if needed else _default(entry)} | {text} |"


def _kind(entry: dict[str, Any]) -> str:
    (one, *_) = [one for one in entry.get("anyOf", [entry]) if one.get("type") != "null"]
    name, many, named = _table_in(entry)
    if name is not None:
        return "tables" if many or named else "a table"
    if "enum" in one:
        return ", ".join(f"`{json.dumps(value)}`" for value in one["enum"])
    if one["type"] == "array":
        return f"a list of {_kind(one['items'])}"
    if one["type"] == "object":
        return "text by name"
    if one.get("format") == "date":
        return "a date"
    if one.get("examples", [""])[0].endswith("GB"):
        return "memory"
    if "examples" in one:
        return "a walltime"
    kinds = {"string": "text", "integer": "a whole number", "boolean": "`true` or `false`"}
    return kinds[one["type"]]


def _default(entry: dict[str, Any]) -> str:
    default = entry.get("default")
    if default is None or (isinstance(default, (dict, list, tuple)) and not default):
        return "–"
    if isinstance(default, dict):
        return "its defaults"
    return f"`{json.dumps(default)}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
