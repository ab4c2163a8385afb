"""From what pydantic says of a profile to words for the person who wrote it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hpclaunch.sites.fields import homes_of, keys_at
from hpclaunch.sites.layers import SHORT, Layered, Place
from hpclaunch.sites.values import Misfit

__all__ = ["explain", "nearest"]

_MUST = {
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "int_type": "must be a whole number",
    "model_type": "must be a table",
    "string_type": "must be text in quotes",
    # Only names have a pattern.
    "string_pattern_mismatch": "must be 1 to 32 letters, digits, '.', '_' and '-', no mark first",
    "string_too_short": "must not be empty",
    "tuple_type": "must be a list",
}


def explain(error: ValidationError, layered: Layered, profile: str) -> list[str]:
    """One line for each fault: file, table, key, what is wrong, and the nearest valid key.

    Parameters
    ----------
    error : ValidationError
    layered : Layered
        What was validated.
    profile : str
        The profile file, to blame for what is missing.
    """
    return [_explain(fault, layered, profile) for fault in error.errors(include_url=False)]


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word that is most like `word`, or None where none is."""
    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


def _explain(fault: ErrorDetails, layered: Layered, profile: str) -> str:
    cause = fault.get("ctx", {}).get("error")
    place = cause.place if isinstance(cause, Misfit) else tuple(str(part) for part in fault["loc"])
    if place[-1:] == ("[key]",):  # pydantic's mark of a name that is wrong itself
        place = place[:-1]
    where = _where(place, layered, profile)
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key; {_known(place, layered)}"
    if fault["type"] == "missing":
        return f"{where}: missing"
    if isinstance(cause, Misfit):
        return f"{where}: {cause}"
    given = fault["input"]
    what = _what(fault, given)
    told = isinstance(given, dict) or (isinstance(given, str) and repr(given) in what)
    return f"{where}: {what}" + ("" if told else f" (it is {given!r})")


def _what(fault: ErrorDetails, given: Any) -> str:
    if fault["type"] == "tuple_type" and isinstance(given, str):
        return f'must be a list, such as ["{given}"]'
    message = fault["msg"].removeprefix("Value error, ")
    for pydantics, ours in (("Input should be", "must be"), ("String should have", "must have")):
        message = message.replace(pydantics, ours)
    return _MUST.get(fault["type"], message)


def _where(place: Place, layered: Layered, profile: str) -> str:
    """File, table and key as the person wrote them."""
    entry = _first_entry(place, layered.values)
    layer = layered.source_of(place)
    if entry is None and not layered.holds(place):
        layer = None  # a key that nobody wrote is missing in the profile
    file = layer.name if layer else profile
    above, rest = (place, ()) if entry is None else (place[:entry], place[entry + 1 :])
    number = "" if entry is None else f" number {int(place[entry]) + 1}"
    if layer and layer.short:
        above = next((word,) for word, home in SHORT.items() if home == above)
    if layer and layer.table:
        above = (layer.table, *above)
    if rest:
        return f"{file}: [[{'.'.join(above)}]]{number}: {'.'.join(rest)}"
    *tables, key = above
    table = f"[{'.'.join(tables)}] " if tables else ""
    return f"{file}: {table}{key}{number}"


def _first_entry(place: Place, values: Any) -> int | None:
    """Which part of a place is the index of a list's entry, None where none is."""
    for depth, part in enumerate(place):
        if isinstance(values, list):
            return depth
        values = values.get(part) if isinstance(values, dict) else None
    return None


def _known(place: Place, layered: Layered) -> str:
    *table, key = place
    layer = layered.source_of(place)
    known = keys_at(table)
    if layer and layer.table and not table:
        known = sorted([*known, *SHORT])
    near = nearest(key, known)
    homes = " and ".join(f"[{home}]" for home in homes_of(key)) if not table else ""
    if homes:
        return f"{homes} {'have' if ' ' in homes else 'has'} a key of this name"
    return f"did you mean {near!r}?" if near else f"known: {', '.join(known)}"
