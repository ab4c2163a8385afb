"""Stripes for new files: the rule, and the command that sets them for a directory. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hpclaunch.storage.stripes import Stripes

__all__ = ["Wanted", "checked_stripes", "inherited_stripes", "stripe_command", "suited_stripes"]

Wanted = Literal["auto"] | tuple[int, int] | None
"""By the rule; so many targets (-1: all) and bytes of a stripe; or as the directory has it."""

_MOST = 16
"""Targets of a file, by the rule."""

_EACH = 2**32
"""Bytes on a target, by the rule."""

_NARROW, _WIDE, _WIDEST = 2**20, 2**22, 2**24
"""Bytes of a stripe: on one target, on several, and on several where chunks are large."""

_UNIT, _LIMIT = 2**16, 2**32
"""Bytes: a stripe is a multiple of the first and less than the second (lfs-setstripe(1))."""


def suited_stripes(size: int, chunk: int = 0) -> Stripes:
    """The stripes that suit a new file. A rule that was never measured on a real Lustre.

    One target for each 4 GiB, a power of two up to 16: each further target costs time when a file
    is opened. A stripe holds a whole chunk where it can, so that a request for one goes to one
    or two targets: the chunks that an access chose decide, and the access only by them.

    Parameters
    ----------
    size : int
        Bytes that the file is expected to have.
    chunk : int
        Bytes of its largest chunk, 0 where it has none.
    """
    count = min(_MOST, 1 << max(0, -(-size // _EACH) - 1).bit_length())
    if count == 1:
        return Stripes(_NARROW, 1)
    return Stripes(min(_WIDEST, max(_WIDE, 1 << max(0, chunk - 1).bit_length())), count)


def inherited_stripes(layout: Sequence[Stripes], wanted: Stripes) -> str:
    """Why a new file keeps the layout that its directory gives; "" where others suit it better."""
    if len(layout) > 1 or any(one.end is not None or "mdt" in one.pattern for one in layout):
        return "the directory's layout has several parts (PFL), and is left as it is"
    for one in layout:
        if one.count < 0 or one.count >= wanted.count:
            given = "all targets" if one.count < 0 else f"{one.count} target(s)"
            return f"the directory gives {given}, and {wanted.count} would do"
    return ""


def stripe_command(kind: str, size: int, chunk: int = 0) -> str | None:
    """What sets the stripes for new files of `size` bytes in a directory; None where nothing does.

    Sources: lfs-setstripe(1); BeeGFS's documentation, "Striping".
    """
    wanted = suited_stripes(size, chunk)
    each = f"{wanted.size >> 20}M"
    if kind == "lustre":
        return (
            f"lfs setstripe -E 1G -c 1 -S 1M -E -1 -c {wanted.count} -S {each} DIRECTORY"
            if wanted.count > 1
            else f"lfs setstripe -c 1 -S {each} DIRECTORY"
        )
    if kind == "beegfs":
        return f"beegfs entry set --num-targets={wanted.count} --chunk-size=1M DIRECTORY"
    return None


def checked_stripes(stripes: Wanted) -> Wanted:
    """What was asked for, where that has a meaning.

    Raises
    ------
    ValueError
        If it has none.
    """
    if stripes is None or stripes == "auto":
        return stripes
    if isinstance(stripes, str) or len(stripes) != 2:
        raise ValueError(f"stripes are 'auto', None or (count, size), not {stripes!r}")
    count, size = stripes
    if count < 1 and count != -1:
        raise ValueError(f"stripes over {count} targets: at least 1, or -1 for all")
    if not 0 < size < _LIMIT or size % _UNIT:
        raise ValueError(f"stripes of {size} bytes: a multiple of 65536, and less than 4 GiB")
    return count, size
