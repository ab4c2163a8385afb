"""Two results held against each other. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from hpclaunch.storage.bench_result import Benchmark

__all__ = ["Change", "Comparison", "compare"]


@dataclass(frozen=True)
class Change:
    """One measure in both results.

    Attributes
    ----------
    key, what, unit : str
    old, new : float
        Median rates.
    ratio : float
        New over old; above 1 it became faster.
    verdict : str
        ``same`` where the ranges of both overlap: within the spread. ``unknown`` where one of them
        was measured in one round only.
    """

    key: str
    what: str
    unit: str
    old: float
    new: float
    ratio: float
    verdict: Literal["faster", "slower", "same", "unknown"]


@dataclass(frozen=True)
class Comparison:
    """What changed from one result to the other.

    Attributes
    ----------
    changes : tuple of Change
    only_old, only_new : tuple of str
        Keys that the other result has not.
    notes : tuple of str
        What else was different, and may be the reason.
    """

    changes: tuple[Change, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able fields."""
        return {name: list(each) for name, each in asdict(self).items()}


def compare(old: Benchmark, new: Benchmark) -> Comparison:
    """The ratio of each measure, and whether it is more than the spread of the rounds."""
    changes = []
    for one in new.measures:
        before = old.get(one.key)
        if before is None:
            continue
        verdict: Literal["faster", "slower", "same", "unknown"] = "same"
        if min(len(one.rates), len(before.rates)) < 2:
            verdict = "unknown"
        elif one.low > before.high:
            verdict = "faster"
        elif one.high < before.low:
            verdict = "slower"
        ratio = one.median / before.median
        changes.append(
            Change(one.key, one.what, one.unit, before.median, one.median, ratio, verdict)
        )
    return Comparison(
        tuple(changes),
        tuple(one.key for one in old.measures if new.get(one.key) is None),
        tuple(one.key for one in new.measures if old.get(one.key) is None),
        tuple(_differences(old, new)),
    )


def _differences(old: Benchmark, new: Benchmark) -> list[str]:
    """Facts that are not the same, and page caches."""
    found = []
    for name, path in (
        ("node", ("machine", "node")),
        ("cores", ("machine", "cores")),
        ("number of workers", ("workers", "count")),
        ("nodes", ("workers", "nodes")),
        ("directory", ("place", "path")),
        ("file system", ("place", "title")),
        ("stripes", ("place", "stripes")),
        ("size of large files", ("sizes", "large")),
        ("size of the field", ("sizes", "field")),
    ):
        before, now = _fact(old, path), _fact(new, path)
        if before != now:
            found.append(f"another {name}: {before} then, {now} now")
    before, now = (_fact(one, ("machine", "versions")) or {} for one in (old, new))
    found += [
        f"another {name}: {before.get(name)} then, {now.get(name)} now"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    states = [
        one.key
        for one in new.measures
        if (then := old.get(one.key)) is not None and then.cold is not one.cold
    ]
    if states:
        found.append(f"cold in one and warm in the other: {', '.join(states)}")
    return found


def _fact(result: Benchmark, path: tuple[str, ...]) -> Any:
    value: Any = result.facts
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
