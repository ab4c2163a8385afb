"""BeeGFS: read the stripe pattern off the tools of release 7 and 8. Pure.

The formats stand in BeeGFS's documentation, "Striping" and "Deep Inspection", of 7.2 and 8.
"""

from __future__ import annotations

import re

from hpclaunch.storage.stripes import Stripes

__all__ = ["read_entry_info"]

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = r"(\d+(?:\.\d+)?)\s*([kmgtKMGT]?)(?:i?[bB])?"


def read_entry_info(text: str) -> Stripes | None:
    """Read ``beegfs-ctl --getentryinfo``, ``beegfs entry info --retro`` or its table.

    Returns
    -------
    Stripes or None
        With the targets that the file has, else those that its directory wants; None where the
        text tells no pattern.
    """
    table = re.search(rf"\b(RAID0|RAID10|[A-Za-z ]*[Mm]irror\w*)\s+\((\d+)x{_SIZE}\)", text)
    if table:
        return Stripes(_bytes(table[3], table[4]), int(table[2]), pattern=_pattern(table[1]))
    size = re.search(rf"^\s*\+ Chunksize:\s*{_SIZE}\s*$", text, re.MULTILINE)
    if size is None:
        return None
    kind = re.search(r"^\s*\+ Type:\s*(.+?)\s*$", text, re.MULTILINE)
    targets = re.search(
        r"^\s*\+ Number of (?:storage targets|buddy groups|storage buddy groups):(.*)$",
        text,
        re.MULTILINE | re.IGNORECASE,
    )
    counts = dict(re.findall(r"(desired|actual):\s*(\d+)", targets[1])) if targets else {}
    count = int(counts.get("actual") or counts.get("desired") or 0)
    pattern = _pattern(kind[1]) if kind else "raid0"
    return Stripes(_bytes(size[1], size[2]), count, pattern=pattern)


def _bytes(number: str, unit: str) -> int:
    return int(float(number) * _UNITS[unit.lower()])


def _pattern(word: str) -> str:
    return "buddymirror" if "mirror" in word.lower() else word.lower()
