"""Advice in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from hpclaunch.shell import printable
from hpclaunch.storage.advice import Advice, Gain
from hpclaunch.storage.sample import Sample

if TYPE_CHECKING:
    from hpclaunch.storage.advising import Advised

__all__ = ["advised_lines"]

_FOR = {"map": "maps", "series": "series", "all": "all of it"}


def advised_lines(found: Advised) -> Iterator[str]:
    """All there is to say, line by line."""
    many, machine = len(found.paths), found.machine
    like = f"{many} files like " if many > 1 else ""
    yield f"{like}{printable(found.paths[0])}"
    processes = "1 process" if machine.workers == 1 else f"{machine.workers} processes"
    threads = "1 thread" if machine.threads == 1 else f"{machine.threads} threads"
    yield (
        f"  on {found.place.kind.title}; {_FOR[found.access]} read by {processes} with {threads} "
        f"and {_size(machine.memory)} each"
    )
    if found.sample is None:
        yield f"  nothing was measured: {found.unmeasured}"
    else:
        yield from (f"  {line}" for line in _sample(found.sample))
    yield from (f"  note: {printable(note)}" for note in found.notes)
    for one in found.advice:
        yield ""
        yield from _advice(one)


def _sample(sample: Sample) -> Iterator[str]:
    files = "1 file" if len(sample.paths) == 1 else f"{len(sample.paths)} files"
    rounds = {0: "no whole round", 1: "1 round"}.get(sample.rounds, f"{sample.rounds} rounds")
    shape = " × ".join(map(str, sample.region))
    yield (
        f"measured on {printable(sample.variable)}, {shape} of {files}: {_size(sample.decoded)} "
        f"decoded, {_size(sample.stored)} stored; {rounds} in {sample.seconds:.1f} s by threads of "
        f"this process ({sample.threads})"
    )
    if sample.warm is None:
        before = "not known how much of its beginning was there before"
    else:
        before = f"{sample.warm:.0%} of its beginning was there before"
    yield f"page cache: warm in all rounds, {before}; the storage itself was not measured"


def _advice(one: Advice) -> Iterator[str]:
    about = f" of {printable(one.about)}" if one.about else ""
    yield f"{one.key}{about}: {_value(one)}"
    yield f"  {printable(one.reason)}"
    if one.code and one.code != str(one.value):
        yield f"  {printable(one.code)}"
    for gain in one.gains:
        yield f"  {_gain(gain)}"
    if one.unmeasured:
        yield f"  not measured: {printable(one.unmeasured)}"


def _value(one: Advice) -> str:
    if one.value is None:
        return "leave it as it is"
    if isinstance(one.value, Mapping):
        return ", ".join(f"{printable(str(key))} {value}" for key, value in one.value.items())
    return printable(str(one.value))


def _gain(gain: Gain) -> str:
    if gain.rounds < 2:
        return f"{gain.against} took {gain.ratio:.3g} times as long, tried once only"
    if gain.told == "could not tell":
        return (
            f"could not tell: {gain.against} took {gain.low:.3g} to {gain.high:.3g} times as long, "
            f"in {gain.rounds} rounds"
        )
    spread = f"{gain.low:.3g} to {gain.high:.3g} in {gain.rounds} rounds"
    return f"{gain.against} took {gain.ratio:.3g} times as long ({spread})"


def _size(count: int) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**30 else f"{count / 2**20:.3g} MiB"
