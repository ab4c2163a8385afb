"""Which keys and kinds of values a profile has at a place, read off the model."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from hpclaunch.sites.model import Site
from hpclaunch.units import Memory, Walltime

__all__ = ["homes_of", "keys_at", "takes_text"]


def keys_at(table: Sequence[str]) -> list[str]:
    """The keys of a table of the profile; none where any name may stand."""
    kind = _kind_at(table)
    return sorted(kind.model_fields) if _is_model(kind) else []


def takes_text(place: Sequence[str]) -> bool:
    """Whether the value at a place is written as text."""
    return _kind_at(place) in (str, Memory, Walltime)


def homes_of(key: str) -> list[str]:
    """The top-level tables that have a key of this name."""
    return [
        table
        for table, field in Site.model_fields.items()
        if _is_model(kind := _plain(field.annotation)) and key in kind.model_fields
    ]


def _kind_at(place: Sequence[str]) -> Any:
    kind: Any = Site
    for part in place:
        kind = _plain(_inside(kind, part))
    return kind


def _inside(kind: Any, part: str) -> Any:
    """The type of what has the name `part` in something of type `kind`; None where nothing has."""
    if _is_model(kind):
        field = kind.model_fields.get(part)
        return field and field.annotation
    origin = typing.get_origin(kind)
    if origin is tuple:
        return typing.get_args(kind)[0]
    return typing.get_args(kind)[1] if origin is dict else None


def _plain(kind: Any) -> Any:
    """A type without what annotates it, and without its ``| None``."""
    if typing.get_origin(kind) is typing.Annotated:
        return _plain(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return _plain(next(one for one in typing.get_args(kind) if one is not type(None)))
    return kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
