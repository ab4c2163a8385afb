"""`hpclaunch data bench`: the storage of a directory measured, drawn and compared."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpclaunch.cli.data import check_installed
from hpclaunch.cli.data_text import size
from hpclaunch.cli.tell import Progress, table, tell
from hpclaunch.errors import UsageError
from hpclaunch.shell import printable
from hpclaunch.units import Memory

if TYPE_CHECKING:
    from hpclaunch.storage.bench_compare import Comparison
    from hpclaunch.storage.bench_result import Benchmark, Measure

__all__ = ["bench"]

_INDENT = "  "


def bench(arguments: argparse.Namespace) -> int:
    """Measure a directory, or compare two results."""
    directory, old, new = _asked(arguments)
    seconds = _seconds(arguments.seconds)
    largest = _size(arguments.size)
    check_installed()
    from hpclaunch.storage.bench_plot import check_plot, plot
    from hpclaunch.storage.bench_result import read_result

    if arguments.plot is not None:
        check_plot(arguments.plot)
    before = None if old is None else read_result(old)
    if directory is None:
        assert new is not None
        result = read_result(new)
    else:
        result = _measure(directory, seconds, largest, arguments.workers)
    _print(result, before, measured=directory is not None, as_json=arguments.json)
    if arguments.plot is not None:
        tell(f"plot: {plot(result, arguments.plot)}")
    return 0


def _asked(arguments: argparse.Namespace) -> tuple[str | None, str | None, str | None]:
    """The directory to measure, the old result and the new one."""
    directory: str | None = arguments.directory
    results: list[str] = list(arguments.compare or ())
    if directory is None and len(results) == 2 and Path(results[1]).is_dir():
        directory = results.pop()  # --compare OLD.json DIR
    if len(results) > 2:
        raise UsageError("--compare takes two results at most", hint="--compare OLD.json NEW.json")
    if directory is None and len(results) < 2:
        raise UsageError(
            "which directory is to be measured?",
            hint="hpclaunch data bench DIR; or --compare OLD.json NEW.json without one",
        )
    if directory is not None and len(results) == 2:
        raise UsageError(
            "two results are compared without measuring a directory",
            hint="leave out the directory or the second result",
        )
    return directory, results[0] if results else None, results[1] if len(results) == 2 else None


def _seconds(given: float | None) -> float | None:
    if given is not None and not 1 <= given <= 86400:
        raise UsageError(f"--seconds {given:g}: from 1 to 86400")
    return given


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text) if text.isdecimal() else Memory.parse(text).bytes
    except ValueError as error:
        raise UsageError(f"--size: {error}") from error


def _measure(
    directory: str, seconds: float | None, largest: int | None, cluster: str | None
) -> Benchmark:
    from hpclaunch.storage.bench_crew import connected
    from hpclaunch.storage.benchmark import SECONDS
    from hpclaunch.storage.benchmark import bench as measure

    with connected(cluster) as client, Progress() as progress:
        return measure(
            directory, seconds=seconds or SECONDS, size=largest, progress=progress, client=client
        )


def _print(result: Benchmark, before: Benchmark | None, *, measured: bool, as_json: bool) -> None:
    from hpclaunch.storage.bench_compare import compare
    from hpclaunch.storage.bench_words import meaning

    comparison = None if before is None else compare(before, result)
    if as_json:
        document: dict[str, Any] = {**result.to_dict(), "meaning": list(meaning(result))}
        if comparison is not None:
            document["comparison"] = comparison.to_dict()
        print(json.dumps(document, indent=1))
        return
    if measured:
        print("\n".join(_lines(result, meaning(result))))
    if comparison is not None:
        print("\n".join(_compared(comparison, blank=measured)))


def _lines(result: Benchmark, meaning: tuple[str, ...]) -> Iterator[str]:
    facts, place, sizes = result.facts, result.facts["place"], result.facts["sizes"]
    where = f" at {printable(place['mount'])}" if place["mount"] else ""
    machine, workers = facts["machine"], facts.get("workers")
    whence = f"{machine['node']} ({machine['cores']} cores, {size(machine['memory'])})"
    if workers:
        whence = f"{workers['count']} workers on {', '.join(workers['nodes'])}"
    yield (
        f"{printable(place['path'])} on {place['title']}{where}, from {printable(whence)}, "
        f"in {facts['seconds']:.0f} s"
    )
    stored = ", ".join(f"{name}: {size(count)}" for name, count in sizes["stored"].items())
    yield (
        f"large files of {size(sizes['large'])}, {sizes['files']} small ones"
        f"{' by each' if workers else ''}, a field of "
        f"{size(sizes['field'])} ({stored})"
    )
    yield ""
    heads = ("WHAT", "MEDIAN", "SLOWEST - FASTEST", "", "CACHE", "ROUNDS")
    yield from table(heads, [_row(one) for one in result.measures]).splitlines()
    if result.left_out:
        yield ""
        yield from (
            f"not measured: {key}: {printable(why)}" for key, why in result.left_out.items()
        )
    yield ""
    yield "What this means:"
    yield from (f"{_INDENT}{sentence}" for sentence in meaning)
    yield "Note:"
    yield from (f"{_INDENT}{note}" for note in (*place["notes"], *result.notes))


def _row(one: Measure) -> tuple[str, ...]:
    cache = {True: "cold", False: "warm", None: "-"}[one.cold]
    spread = f"{_number(one.low)} - {_number(one.high)}"
    return one.what, _number(one.median), spread, one.unit, cache, str(len(one.rates))


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 99.5 else f"{rate:.3g}"


def _compared(found: Comparison, *, blank: bool) -> Iterator[str]:
    if blank:
        yield ""
    heads = ("WHAT", "OLD", "NEW", "", "NEW / OLD", "")
    words = {
        "faster": "faster",
        "slower": "slower",
        "same": "within the spread",
        "unknown": "one round only",
    }
    rows = [
        (one.what, _number(one.old), _number(one.new), one.unit, f"{one.ratio:.2f}",
         words[one.verdict])
        for one in found.changes
    ]  # fmt: skip
    yield from table(heads, rows).splitlines()
    for name, keys in (("old", found.only_old), ("new", found.only_new)):
        if keys:
            yield f"only in the {name} result: {', '.join(map(printable, keys))}"
    yield from (f"note: {printable(note)}" for note in found.notes)
