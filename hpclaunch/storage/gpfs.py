"""GPFS (Spectrum Scale): read what ``mmlsattr -L`` and ``mmlsfs -B`` print. Pure.

The formats stand in IBM's command reference of Storage Scale.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Attributes", "read_mmlsattr", "read_mmlsfs"]


@dataclass(frozen=True)
class Attributes:
    """What ``mmlsattr -L`` says of a file.

    Attributes
    ----------
    pool, fileset : str
    offline : bool
        Its data was migrated to tape: a read waits for its recall.
    compressed : bool
        The file system compresses it.
    """

    pool: str = ""
    fileset: str = ""
    offline: bool = False
    compressed: bool = False


def read_mmlsattr(text: str) -> Attributes | None:
    """Read the answer of ``mmlsattr -L FILE``; None where it is none."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    if "storage pool name" not in fields and "misc attributes" not in fields:
        return None
    words = fields.get("misc attributes", "").split()
    flags = fields.get("flags", "").split()
    return Attributes(
        pool=fields.get("storage pool name", ""),
        fileset=fields.get("fileset name", ""),
        offline="OFFLINE" in words,
        compressed="COMPRESSION" in words and "illcompressed" not in map(str.lower, flags),
    )


def read_mmlsfs(text: str) -> int | None:
    """Read the block size in bytes off ``mmlsfs DEVICE -B``; the largest where pools differ."""
    sizes = [int(word) for word in re.findall(r"^\s*-B\s+(\d+)\s+Block size", text, re.MULTILINE)]
    return max(sizes, default=None)
