"""What `hpclaunch data inspect` prints of a file, for people and as JSON."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hpclaunch.cli.tell import table
from hpclaunch.shell import printable

if TYPE_CHECKING:
    from hpclaunch.storage.arrangement import Access, Order
    from hpclaunch.storage.describe import ChunkRow, FileFacts, VariableFacts
    from hpclaunch.storage.inspection import Inspection
    from hpclaunch.storage.places import Place
    from hpclaunch.storage.stripes import Stripes

__all__ = ["alike_line", "chunk_lines", "fields", "inspection_lines", "likeness", "size"]

_HEADS = ("VARIABLE", "TYPE", "SHAPE", "CHUNK", "FILTERS", "STORED", "RATIO", "CHUNKS", "MEAN",
          "READ BY")  # fmt: skip
_INDENT = "  "


def size(count: float | None) -> str:
    """Bytes for people: three digits and a binary unit."""
    if count is None:
        return "-"
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= 0.9995 * factor:
            digits = 0 if count >= 99.95 * factor else 1 if count >= 9.995 * factor else 2
            return f"{count / factor:.{digits}f} {unit}"
    return f"{count:.0f} B"


def inspection_lines(found: Inspection) -> Iterator[str]:
    """A file: what it is, where it lies, its variables, what is slow about them."""
    facts = found.facts
    yield printable(facts.path)
    yield _INDENT + _file(facts)
    yield from (_INDENT + line for line in _place(found.place))
    yield f"{_INDENT}requests: {_requests(found)}"
    yield f"{_INDENT}decoders: {', '.join(f'{one} by {by}' for one, by in found.decoders.items())}"
    yield ""
    if facts.variables:
        rows = table(_HEADS, [_row(one) for one in facts.variables])
        yield from (_INDENT + line for line in rows.splitlines())
    else:
        yield f"{_INDENT}it has no variables"
    for one in facts.variables:
        lines = list(_remarks(one))
        if lines:
            yield ""
            yield f"{_INDENT}{printable(one.name)}"
            yield from (_INDENT * 2 + line for line in lines)


def likeness(found: Inspection) -> Hashable:
    """Equal for files that the same can be said of, but for sizes along their first dimensions."""
    place = found.place
    return (
        (place.kind.name, place.mount, place.components, place.notes, found.facts.paged),
        tuple(map(_likeness, found.facts.variables)),
    )


def _likeness(one: VariableFacts) -> Hashable:
    traps = tuple(trap.code for trap in one.traps)
    form = (one.dims, one.shape[1:], one.dtype, one.kind, one.chunks, one.filters)
    return one.name, form, one.index, one.reason, traps


def alike_line(found: Inspection, first: str) -> str:
    """A file that is laid out like one that was told of."""
    path = printable(found.facts.path)
    return f"{path}: {size(found.facts.size)}, laid out like {printable(first)}"


def _file(facts: FileFacts) -> str:
    many = len(facts.variables)
    groups = f" in {facts.groups} groups" if facts.groups > 1 else ""
    if facts.paged:
        metadata = f"metadata in pages of {size(facts.page)}"
    else:
        metadata = f"{size(facts.between)} of metadata and gaps in {_count(facts.pieces, 'place')}"
    return (
        f"HDF5, superblock {facts.superblock}, {size(facts.size)}, "
        f"{_count(many, 'variable')}{groups}; {metadata}"
    )


def _place(place: Place) -> Iterator[str]:
    shared = {True: "shared by the nodes", False: "of this node alone", None: "shared or not"}
    where = f" at {printable(place.mount)}" if place.mount else ""
    device = f" ({printable(place.device)})" if place.device else ""
    yield f"on {place.kind.title}{where}{device}, {shared[place.shared]}; {', '.join(place.found)}"
    for one in place.components:
        yield f"{_INDENT}{_stripes(one, whole=len(place.components) == 1)}"
    if place.offline == "perhaps":
        yield "it has hardly any blocks: it may lie on tape, or be sparse"
    for note in place.notes:
        yield f"note: {printable(note)}"


def _stripes(one: Stripes, *, whole: bool) -> str:
    end = "the end" if one.end is None else size(one.end)
    part = "" if whole else f"from {size(one.start)} to {end}: "
    if one.count == 0:
        spread = "with the metadata"
    else:
        targets = "all targets" if one.count < 0 else _count(one.count, "target")
        spread = f"stripes of {size(one.size)} over {targets}"
    pool = f", pool {printable(one.pool)}" if one.pool else ""
    unused = "" if one.used else ", not in use"
    return f"{part}{spread}{pool}{unused}"


def _requests(found: Inspection) -> str:
    align = f"cut at multiples of {size(found.reading.align)}" if found.reading.align else "not cut"
    return f"{align}, gaps up to {size(found.reading.gap)} are read along ({found.reading.reason})"


def _row(one: VariableFacts) -> Sequence[str]:
    ratio = one.ratio
    chunks = "-" if one.chunks is None else _times(one.chunks)
    return (
        printable(one.name),
        one.dtype,
        _times(one.shape) or "scalar",
        chunks if one.kind != "contiguous" else "contiguous",
        ", ".join(map(printable, one.filters)) or "-",
        size(one.stored),
        "-" if ratio is None else f"{ratio:.2f}",
        _written(one),
        size(one.mean_chunk),
        "HDF5 library" if one.reason else "hpclaunch",
    )


def _written(one: VariableFacts) -> str:
    if not one.count:
        return "-"
    if one.written is None or one.written == one.count:
        return str(one.count)
    return f"{one.written} of {one.count}"


def _times(numbers: Sequence[int]) -> str:
    return " × ".join(map(str, numbers))


def _remarks(one: VariableFacts) -> Iterator[str]:
    if one.reason:
        yield f"left to the HDF5 library: {printable(one.reason)}"
    if one.maps is not None and one.series is not None and one.count > 1:
        yield f"one map decodes {_cost(one.maps)}"
        yield f"one series along {printable(one.dims[0])} decodes {_cost(one.series)}"
    if one.order is not None and one.count > 1:
        yield _order(one, one.order)
    for trap in one.traps:
        yield f"trap: {trap.what}"


def _order(one: VariableFacts, order: Order) -> str:
    between = f" with {size(order.gaps)} of other things between" if order.gaps else ""
    index = f"; index: {one.index}" if one.index else ""
    fill = "" if one.fill is None else f"; fill value: {one.fill}"
    return (
        f"its chunks lie {order.ascending:.0%} in order, in {_count(order.runs, 'piece')}"
        f"{between}{index}{fill}"
    )


def _cost(cost: Access) -> str:
    much = cost.amplification
    times = f", {much:,.{0 if much >= 10 else 1}f} times what it wants" if much > 1.05 else ""
    return f"{size(cost.decoded)} in {_count(cost.chunks, 'chunk')}{times}"


def _count(many: int, what: str) -> str:
    return f"{many} {what}{'' if many == 1 else 's'}"


def chunk_lines(rows: Sequence[ChunkRow]) -> Iterator[str]:
    """A table of chunks."""
    heads = ("FIRST ELEMENT", "OFFSET", "STORED", "FILTERS LEFT OUT")
    cells = [
        (
            ", ".join(map(str, row.at)),
            "not written" if row.offset is None else str(row.offset),
            str(row.size),
            "".join(f" {bit}" for bit in range(32) if row.mask >> bit & 1).strip() or "-",
        )
        for row in rows
    ]
    yield from table(heads, cells).splitlines()


def fields(found: Inspection) -> dict[str, Any]:
    """A file as JSON-able fields."""
    facts = asdict(found.facts)
    for one, told in zip(found.facts.variables, facts["variables"], strict=True):
        told["ratio"], told["mean_chunk"] = one.ratio, one.mean_chunk
        told["read_by"] = "HDF5 library" if one.reason else "hpclaunch"
    place = asdict(found.place)
    kind = place.pop("kind")
    place |= {"kind": kind["name"], "shared": kind["shared"], "options": found.place.options}
    reading = asdict(found.reading)
    every = {**facts, "place": place, "reading": reading, "decoders": dict(found.decoders)}
    return {key: _plain(one) for key, one in every.items()}


def _plain(value: Any) -> Any:
    """Lists for tuples; None for numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
