"""Lustre: read what ``lfs getstripe`` prints, and the layout as the client keeps it. Pure.

The formats stand in ``lfs-getstripe(1)``, in ``llapi_dump`` of ``liblustreapi.c`` and in
``lustre_user.h`` of the Lustre releases 2.10 to 2.17.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from hpclaunch.storage.stripes import Stripes

__all__ = ["read_getstripe", "read_lov", "released"]

_FLAGS = {0x1: "stale", 0x2: "prefrd", 0x4: "prefwr", 0x8: "offline", 0x10: "init", 0x20: "nosync",
          0x40: "extension", 0x80: "parity", 0x100: "compress"}  # fmt: skip
_PATTERNS = {0x1: "raid0", 0x2: "raid1", 0x4: "parity", 0x100: "mdt", 0x200: "overstriped",
             0x400: "foreign", 0x800: "compress", 0x40000000: "hole",
             0x80000000: "released"}  # fmt: skip
_PLAIN, _WITH_POOL, _COMPOSITE = 0x0BD10BD0, 0x0BD30BD0, 0x0BD60BD0
_ENTRY_START = "lcme_id"


def read_getstripe(text: str) -> tuple[Stripes, ...]:
    """Read the answer of ``lfs getstripe``, plain or ``--yaml``, of a file or a directory.

    Returns
    -------
    tuple of Stripes
        In the order in which they stand there; empty where the text tells of no layout.
    """
    return tuple(found for fields in _entries(text) if (found := _stripes(fields)))


def _entries(text: str) -> Iterator[dict[str, str]]:
    """The fields of each component, or of the one layout that there is."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        for key, value in _pairs(line):
            if key == _ENTRY_START and fields:
                yield fields
                fields = {}
            fields.setdefault(key, value)
    if fields:
        yield fields


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """Keys and values of a line; the defaults of a directory stand on a single one."""
    for match in re.finditer(r"(?<![\w./])((?:lcme|lmm|stripe|pattern)[\w.]*):[ \t]+(\S+)", line):
        key = match[1]
        yield (key if key.startswith("lcme") else key.removeprefix("lmm_")), match[2]


def _stripes(fields: dict[str, str]) -> Stripes | None:
    size, count = _number(fields.get("stripe_size")), _number(fields.get("stripe_count"))
    if size is None or count is None:
        return None
    return Stripes(
        size=size,
        count=count,
        start=_number(fields.get("lcme_extent.e_start")) or 0,
        end=_number(fields.get("lcme_extent.e_end")),
        pattern=_pattern(fields.get("pattern", "raid0")),
        flags=_flags(fields["lcme_flags"]) if "lcme_flags" in fields else ("init",),
        pool=fields.get("pool", ""),
    )


def _number(word: str | None) -> int | None:
    """A decimal number; None for ``EOF``, ``N/A`` and what is not there."""
    return int(word) if word is not None and re.fullmatch(r"-?\d+", word, re.ASCII) else None


def _flags(word: str) -> tuple[str, ...]:
    """Names with commas; or a number, as older clients and ``-v`` print it."""
    if re.fullmatch(r"(0x)?[0-9a-fA-F]+", word) and word[0].isdigit():
        return _bits(int(word, 16), _FLAGS)
    return tuple(word.split(","))


def _pattern(word: str) -> str:
    """Names with commas; or a number, hexadecimal: 1 is raid0, 80000001 released to the archive."""
    if re.fullmatch(r"(0x)?[0-9a-fA-F]+", word) and word[0].isdigit():
        return ",".join(_bits(int(word, 16), _PATTERNS)) or "raid0"
    return word


def _bits(number: int, names: dict[int, str]) -> tuple[str, ...]:
    return tuple(name for bit, name in names.items() if number & bit)


def released(components: tuple[Stripes, ...]) -> bool:
    """Whether a file's data was given to an archive (HSM) and is not on Lustre any more."""
    return any("released" in one.pattern.split(",") for one in components)


def read_lov(raw: bytes) -> tuple[Stripes, ...]:
    """Read the extended attribute ``lustre.lov``, which needs no ``lfs``.

    Parameters
    ----------
    raw : bytes
        ``struct lov_user_md`` or ``struct lov_comp_md_v1``, little-endian.

    Returns
    -------
    tuple of Stripes
        Empty where it is neither.
    """
    try:
        (magic,) = struct.unpack_from("<I", raw)
        if magic != _COMPOSITE:
            found = _layout(raw, 0, None, ("init",), 0)
            return (found,) if found else ()
        (entries,) = struct.unpack_from("<H", raw, 14)
        return tuple(found for at in range(entries) if (found := _component(raw, 32 + 48 * at)))
    except struct.error:
        return ()


def _component(raw: bytes, at: int) -> Stripes | None:
    _, flags, start, end, offset, _ = struct.unpack_from("<IIQQII", raw, at)
    last = None if end == 2**64 - 1 else end
    return _layout(raw, start, last, _bits(flags, _FLAGS), offset)


def _layout(
    raw: bytes, start: int, end: int | None, flags: tuple[str, ...], at: int
) -> Stripes | None:
    magic, pattern, _, _, size, count, _ = struct.unpack_from("<IIQQIHH", raw, at)
    if magic not in (_PLAIN, _WITH_POOL):
        return None
    words = ",".join(_bits(pattern, _PATTERNS)) or "raid0"
    pool = ""
    if magic == _WITH_POOL:
        pool = raw[at + 32 : at + 48].split(b"\0")[0].decode(errors="replace")
    return Stripes(size, -1 if count == 0xFFFF else count, start, end, words, flags, pool)
