"""Kinds of values of a site profile: what text may stand there, and the words for what may not."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    Strict,
    StringConstraints,
    WithJsonSchema,
)

from hpclaunch.units import Memory, Walltime

__all__ = [
    "BasePath",
    "Count",
    "CountOrNone",
    "Flag",
    "HostName",
    "IdleLimit",
    "Interpreter",
    "Line",
    "MemoryValue",
    "Misfit",
    "Name",
    "SitePath",
    "WalltimeValue",
    "one_line",
]


class Misfit(ValueError):
    """Values that do not fit together; knows the key to blame.

    Attributes
    ----------
    place : tuple of str
        Tables and key.
    """

    def __init__(self, place: tuple[str, ...], what: str) -> None:
        super().__init__(what)
        self.place = place


def one_line(text: str) -> str:
    """A value that goes into a directive or a command: one printable line."""
    if any(not (char.isprintable() or char == "\t") for char in text):
        raise ValueError("must be one line without control characters")
    return text


def _site_path(text: str) -> str:
    if not text.startswith(("/", "~/")):
        raise ValueError("must be an absolute path, or begin with ~/ for the home on the site")
    return text


def _base_path(text: str) -> str:
    if ":" in text:
        raise ValueError("must not hold a colon: PYTHONPATH would be cut there")
    if text.strip("~/") == "":
        raise ValueError("must be a directory of its own: it will be closed to others")
    return _site_path(text)


def _interpreter(text: str) -> str:
    if "/" in text:
        return _site_path(text)
    if text.startswith("-"):
        raise ValueError("must not begin with a dash")
    return text


def _host_name(text: str) -> str:
    if text.startswith("-") or any(char.isspace() for char in text):
        raise ValueError("must be a host name, or USER@HOST")
    return text


def _memory(value: Any) -> Any:
    if isinstance(value, str):
        return Memory.parse(value)
    if isinstance(value, Memory):
        return value
    raise ValueError("must be text in quotes with a unit, such as '4 GB'")


def _walltime(value: Any) -> Any:
    if isinstance(value, str):
        return Walltime.parse(value)
    if isinstance(value, Walltime):
        return value
    if isinstance(value, time):
        raise ValueError("must stand in quotes: without them it is a time of day")
    raise ValueError("must be text in quotes, such as '2:30:00' or '90m'")


def _idle_limit(value: Any) -> Any:
    if value is None or (isinstance(value, str) and value.strip() == "0"):
        return None
    return _walltime(value)


Line = Annotated[str, StringConstraints(min_length=1), AfterValidator(one_line)]
Count = Annotated[int, Strict(), Field(gt=0)]
CountOrNone = Annotated[int, Strict(), Field(ge=0)]
Flag = Annotated[bool, Strict()]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
IdleLimit = Annotated[
    Walltime | None,
    BeforeValidator(_idle_limit),
    PlainSerializer(lambda value: str(value or "0"), return_type=str),
    WithJsonSchema({"type": "string", "examples": ["4:00:00", "90m", "0"]}),
]
SitePath = Annotated[Line, AfterValidator(_site_path)]
BasePath = Annotated[Line, AfterValidator(_base_path)]
HostName = Annotated[Line, AfterValidator(_host_name)]
Interpreter = Annotated[Line, AfterValidator(_interpreter)]
MemoryValue = Annotated[
    Memory,
    BeforeValidator(_memory),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["4 GB", "512 MiB"]}),
]
WalltimeValue = Annotated[
    Walltime,
    BeforeValidator(_walltime),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["2:30:00", "1-00:00:00", "90m"]}),
]
