"""Whether files are worth to be virtualized, by rules. Pure: facts in, advice out."""

from __future__ import annotations

from collections.abc import Sequence

from hpclaunch.storage.advice import Advice
from hpclaunch.storage.describe import FileFacts
from hpclaunch.storage.places import Place

__all__ = ["virtual_advice"]

KEY = "virtualize"

KNOWN = {"deflate", "shuffle", "fletcher32", "bzip2", "blosc", "zstd"}
"""Filters that Zarr undoes, by their first words."""

SMALL = 64 << 10
"""Stored bytes of a chunk below which a request over a network is mostly waiting."""

MANY = 100_000
"""References from where on they are kept in parquet rather than in one document."""


def virtual_advice(
    facts: FileFacts, place: Place, others: Sequence[Advice], *, files: int = 1
) -> Advice:
    """Advise on references for those who read the files as Zarr.

    Parameters
    ----------
    facts : FileFacts
    place : Place
    others : sequence of Advice
        What was advised on the same files.
    files : int
        How many there are.
    """
    data = [one for one in facts.variables if one.nbytes and len(one.shape) > 1]
    for one in data:
        unknown = [name for name in one.filters if name.split()[0] not in KNOWN]
        if unknown:
            return Advice(
                KEY, None, f"Zarr has no codec for {unknown[0]}, the filter of {one.name}"
            )
    again = [one.about for one in others if one.key == "rechunk"]
    if again:
        return Advice(
            KEY, None, f"references keep the chunks, and those of {again[0]} are bad: rechunk first"
        )
    small = [one for one in data if one.count > 1 and (one.mean_chunk or SMALL) < SMALL]
    if small:
        mean = (small[0].mean_chunk or 0) / 2**10
        return Advice(
            KEY,
            None,
            f"each chunk is a request by references, and those of {small[0].name} have {mean:.3g} "
            "KiB: rechunk first if they shall be read over a network",
        )
    chunks = files * sum(one.written or 0 for one in data)
    name = "archive.parq" if chunks > MANY else "archive.json"
    where = (
        "they lie in an object store: readers without hpclaunch open them as Zarr"
        if place.kind.name == "object store"
        else "only for readers without hpclaunch, or where the files are put into an object store"
    )
    return Advice(KEY, f"hpclaunch data virtualize FILE... --output {name}", where)
