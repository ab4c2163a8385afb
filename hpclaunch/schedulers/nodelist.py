"""Slurm's short way to write many host names, ``c[1-2,5],login03``, and the names it stands for."""

from __future__ import annotations

import itertools
import re

__all__ = ["MAX_NODES", "expand_nodes"]

MAX_NODES = 100_000
"""More names than any machine has; a longer list is no node list."""

_PART = re.compile(r"\[([^\[\]]*)\]|([^\[\],]+)")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)


def expand_nodes(text: str) -> tuple[str, ...]:
    """Return the host names of a node list, in the order in which they are written.

    Parameters
    ----------
    text : str
        ``NAME`` or ``PREFIX[RANGES]SUFFIX``, several of them with commas between; several
        brackets in one name multiply. Leading zeros of a range's start are kept.

    Raises
    ------
    ValueError
        If it is no such list: an open bracket, an empty name, a range that runs backwards, or
        more than `MAX_NODES` names.

    Examples
    --------
    >>> expand_nodes("c[1-2,5],login03")
    ('c1', 'c2', 'c5', 'login03')
    >>> expand_nodes("r[1-2]n[08-09]")
    ('r1n08', 'r1n09', 'r2n08', 'r2n09')
    """
    if not text.strip():
        return ()
    names: list[str] = []
    for item in _split(text.strip()):
        names += _expand_item(item)
        if len(names) > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} names in the node list {text[:80]!r}")
    return tuple(names)


def _split(text: str) -> list[str]:
    """Split at the commas that stand outside brackets."""
    items, depth, start = [], 0, 0
    for position, character in enumerate(text):
        if character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
        elif character == "," and depth == 0:
            items.append(text[start:position])
            start = position + 1
    return [*items, text[start:]]


def _expand_item(item: str) -> list[str]:
    parts: list[list[str]] = []
    end = 0
    for match in _PART.finditer(item):
        if match.start() != end:
            break
        end = match.end()
        parts.append([match[2]] if match[2] is not None else _expand_ranges(match[1]))
    if end != len(item) or not parts:
        raise ValueError(f"{item!r} is no name in a node list")
    total = 1
    for part in parts:
        total *= len(part)
    if total > MAX_NODES:
        raise ValueError(f"more than {MAX_NODES} names in {item!r}")
    return ["".join(words) for words in itertools.product(*parts)]


def _expand_ranges(text: str) -> list[str]:
    numbers: list[str] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None or len(part) > 40:
            raise ValueError(f"{part[:80]!r} is no range in a node list")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= MAX_NODES:
            raise ValueError(f"the range {part!r} of a node list runs backwards or is too long")
        numbers += [str(number).zfill(len(match[1])) for number in range(first, last + 1)]
    return numbers
