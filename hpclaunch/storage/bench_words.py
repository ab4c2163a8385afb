"""What the numbers of a benchmark mean, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from hpclaunch.storage.bench_files import THREADS
from hpclaunch.storage.bench_result import Benchmark, Measure

__all__ = ["meaning"]

_MUCH = 1.3
"""Times that two rates differ at least for it to be told of."""
_ENGINES = ("hpclaunch", "netcdf4", "h5netcdf")


def meaning(result: Benchmark) -> tuple[str, ...]:
    """Sentences, the most useful first; each rests on medians that differ by more than 1.3."""
    parts = (
        _together,
        _bound,
        _engines,
        _requests,
        _threads,
        _opens,
        _layout,
        _zarr,
        _writers,
    )
    return tuple(sentence for part in parts for sentence in part(result))


def _differ(one: Measure | None, other: Measure | None) -> bool:
    """Whether the first is clearly faster than the second: also in its slowest round.

    Of one round alone the spread is not known.
    """
    if one is None or other is None or min(len(one.rates), len(other.rates)) < 2:
        return False
    return one.median > _MUCH * other.median and one.low > other.high


def _times(one: float, other: float) -> str:
    ratio = one / other
    return f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}"


def _bound(result: Benchmark) -> Iterator[str]:
    """Decoding or the file system: what was stored comes at this share of what a file gives.

    Nothing is said where one of them came out of memory.
    """
    best = _best(result, "all")
    files = result.get("sequential/8 MiB")
    sizes = result.facts.get("sizes") or {}
    stored = (sizes.get("stored") or {}).get("deflated")
    if best is None or files is None or not stored or not (best.cold and files.cold):
        return
    arrives = best.median * stored / sizes["field"]
    share = arrives / files.median
    told = (
        f"{best.variant} takes {arrives:,.0f} MiB/s of deflated bytes, the file system gives "
        f"{files.median:,.0f} MiB/s"
    )
    if share < 0.5:
        yield f"reading deflated NetCDF is bound by decoding, not by the file system: {told}"
    elif share > 0.8:
        yield f"reading deflated NetCDF is bound by the file system, not by decoding: {told}"
    else:
        yield f"reading deflated NetCDF waits for the file system and for decoding: {told}"


def _best(result: Benchmark, task: str) -> Measure | None:
    found = [one for engine in _ENGINES if (one := result.get(f"{task}/{engine}")) is not None]
    return max(found, key=lambda one: one.median, default=None)


def _together(result: Benchmark) -> Iterator[str]:
    """What all workers get, beside what one gets."""
    many = (result.facts.get("workers") or {}).get("count", 0)
    for key, what in (
        ("sequential/8 MiB", "read large files"),
        ("write/8 MiB", "write large files"),
        ("files/create", "create small files"),
        ("all/hpclaunch", "read NetCDF by engine hpclaunch"),
        ("all/netcdf4", "read NetCDF by engine netcdf4"),
    ):
        together, alone = (result.get(f"{key}, {who}") for who in ("all workers", "one worker"))
        if together is None or alone is None:
            continue
        if _differ(together, alone):
            yield (
                f"{many} workers together {what} {_times(together.median, alone.median)} times as "
                "fast as one"
            )
        elif together.median < alone.median * _MUCH:
            yield f"{many} workers together {what} no faster than one"
    ours, theirs = (result.get(f"all/{name}, all workers") for name in ("hpclaunch", "netcdf4"))
    if ours is not None and theirs is not None and _differ(ours, theirs):
        yield (
            f"all workers read NetCDF {_times(ours.median, theirs.median)} times as fast by engine "
            "hpclaunch as by netcdf4"
        )


def _engines(result: Benchmark) -> Iterator[str]:
    for task, what in (
        ("all", "reads a whole field"),
        ("plain", "reads a field that is not deflated"),
        ("map", "reads maps"),
        ("series", "reads series"),
        ("open", "opens files"),
    ):
        ours, theirs = result.get(f"{task}/hpclaunch"), result.get(f"{task}/netcdf4")
        if ours is None or theirs is None:
            continue
        if _differ(ours, theirs):
            times = _times(ours.median, theirs.median)
            yield f"engine hpclaunch {what} {times} times as fast as netcdf4"
        elif _differ(theirs, ours):
            times = _times(theirs.median, ours.median)
            yield f"engine netcdf4 {what} {times} times as fast as hpclaunch"


def _requests(result: Benchmark) -> Iterator[str]:
    large, small = result.get("random/8 MiB"), result.get("random/64 KiB")
    if large is None or small is None:
        return
    cached = "" if small.cold else " (out of the page cache)"
    if _differ(large, small):
        times = _times(large.median, small.median)
        yield (
            f"this file system wants large requests: {times} times as many bytes a second at 8 MiB "
            f"as at 64 KiB{cached}"
        )
    elif large.median < small.median * _MUCH:
        yield f"the size of requests makes little difference here{cached}"
    if small.cold:
        each = 64 / 1024 / small.median * 1000
        yield f"a request of 64 KiB takes {each:.2g} ms"


def _threads(result: Benchmark) -> Iterator[str]:
    many, one = result.get(f"random/64 KiB, {THREADS} threads"), result.get("random/64 KiB")
    if many is None or one is None:
        return
    if _differ(many, one):
        times = _times(many.median, one.median)
        yield f"{THREADS} threads that read beside one another get {times} times what one gets"
    elif many.median < one.median * _MUCH:
        yield f"{THREADS} threads that read beside one another get no more than one"


def _opens(result: Benchmark) -> Iterator[str]:
    opened, made = result.get("files/open"), result.get("files/create")
    if opened is not None and made is not None:
        yield (
            f"10,000 small files are created in {_time(1e4 / made.median)} and opened and read in "
            f"{_time(1e4 / opened.median)} by the node that made them, out of its memory"
        )


def _time(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _layout(result: Benchmark) -> Iterator[str]:
    maps, series = _best(result, "map"), _best(result, "series")
    if _differ(maps, series):
        assert maps is not None and series is not None
        times = _times(maps.median, series.median)
        yield (
            f"with a chunk for each map, a map comes {times} times as fast as a series: where you "
            "read series often, see `hpclaunch data rechunk`"
        )


def _zarr(result: Benchmark) -> Iterator[str]:
    for name, title in (("zarr", "Zarr"), ("virtual zarr", "virtual Zarr")):
        other, best = result.get(f"all/{name}"), _best(result, "all")
        if other is None or best is None:
            continue
        if _differ(other, best):
            times = _times(other.median, best.median)
            yield f"{title} is read {times} times as fast as NetCDF by {best.variant}"
        elif _differ(best, other):
            times = _times(best.median, other.median)
            yield f"NetCDF by {best.variant} is read {times} times as fast as {title}"
        else:
            yield f"{title} and NetCDF by {best.variant} are read equally fast within the spread"


def _writers(result: Benchmark) -> Iterator[str]:
    ours, theirs = result.get("store/hpclaunch"), result.get("store/netcdf4")
    if _differ(ours, theirs):
        times = _times(result.rate("store/hpclaunch"), result.rate("store/netcdf4"))
        yield f"hpclaunch.storage.to_netcdf writes {times} times as fast as xarray's to_netcdf"
    elif _differ(theirs, ours):
        times = _times(result.rate("store/netcdf4"), result.rate("store/hpclaunch"))
        yield f"xarray's to_netcdf writes {times} times as fast as hpclaunch.storage.to_netcdf"
