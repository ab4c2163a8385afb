"""Advice and what was measured, put together; where the rule lost, what won is advised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hpclaunch.storage.advice import Advice, Gain
from hpclaunch.storage.blocks import Machine, fits
from hpclaunch.storage.describe import VariableFacts
from hpclaunch.storage.sample import PIECES, TUNED, USUAL, Sample

__all__ = ["judged", "not_tried"]

_CLEAR = 0.9
"""The ratio below which another way than the rule's is advised, where all rounds agree."""

_UNTRIED = {
    "HDF5_USE_FILE_LOCKING": "the HDF5 library looks at it once in a process",
    "workers": "other processes are not started for a trial",
    "rdcc_nbytes": "the HDF5 library's cache was not tried",
    "page_buf_size": "the page buffer was not tried",
    "rechunk": "files would have to be written; the reason counts what is decoded",
    "stripes": "files would have to be written",
    "virtualize": "nothing is read over a network for a trial",
}


def not_tried(one: Advice, why: str) -> Advice:
    """With the reason why it has no gain, where it claims one."""
    if one.gains or one.unmeasured or one.value is None or one.key == "open":
        return one
    return replace(one, unmeasured=_UNTRIED.get(one.key, why))


def judged(
    advice: tuple[Advice, ...],
    sample: Sample,
    leader: VariableFacts,
    machine: Machine,
    *,
    index: Callable[[], Gain | str],
) -> tuple[Advice, ...]:
    """The advice with its gains.

    Parameters
    ----------
    advice : tuple of Advice
        By the rules.
    sample : Sample
    leader : VariableFacts
        What was measured with.
    machine : Machine
    index : callable
        Measures the gain of an index, or says why not.
    """
    found = tuple(_judged(one, sample, leader, machine, index) for one in advice)
    if not any(one.key == "engine" and one.reason.startswith("faster") for one in found):
        return found
    return tuple(
        _of_netcdf4(rule, sample, leader, machine)
        if (rule.key, rule.about) == ("chunks", leader.name)
        else one
        for one, rule in zip(found, advice, strict=True)
    )


def _of_netcdf4(rule: Advice, sample: Sample, leader: VariableFacts, machine: Machine) -> Advice:
    """The chunks for engine netcdf4: a file in one block where that was tried, else the rule's."""
    if not _tried_whole(sample, leader, machine):
        return replace(rule, unmeasured="the engine was measured with the sample in one block")
    return replace(
        rule,
        value=dict.fromkeys(leader.dims, -1),
        reason="a file in one block",
        unmeasured="the engine was measured with them",
    )


def _tried_whole(sample: Sample, leader: VariableFacts, machine: Machine) -> bool:
    """Whether the sample was all of the variable in its files, and such blocks fit into memory."""
    return sample.region == leader.shape and (leader.nbytes or 0) <= fits(machine)


def _judged(
    one: Advice,
    sample: Sample,
    leader: VariableFacts,
    machine: Machine,
    index: Callable[[], Gain | str],
) -> Advice:
    if one.key == "engine" and one.value == "hpclaunch":
        gains = (sample.gain(TUNED), sample.gain(USUAL))
        return _or_rather(replace(one, gains=tuple(filter(None, gains))), "netcdf4")
    if one.key == "chunks":
        return _chunks(one, sample, leader, machine)
    if one.key == "index":
        tried = index()
        if isinstance(tried, Gain):
            return replace(one, gains=(tried,))
        return replace(one, unmeasured=tried)
    return one


def _chunks(one: Advice, sample: Sample, leader: VariableFacts, machine: Machine) -> Advice:
    if one.about != leader.name:
        return replace(one, unmeasured=f"only {leader.name} was read")
    gain = sample.gain(PIECES)
    if gain is not None:
        measured = replace(one, gains=(gain,))
        if leader.chunks is None and not _tried_whole(sample, leader, machine):
            return measured
        own = dict(zip(leader.dims, leader.chunks or leader.shape, strict=True))
        return _or_rather(measured, own)
    if isinstance(one.value, dict) and leader.chunks == tuple(one.value.values()):
        return replace(one, unmeasured="chunks={} makes the same")
    return replace(one, unmeasured="there was no time to try chunks={}")


def _or_rather(one: Advice, other: str | dict[str, int]) -> Advice:
    """The other way, where that was clearly faster."""
    gain = one.gains[0] if one.gains else None
    if gain is None or gain.told != "slower" or gain.ratio > _CLEAR:
        return one
    return replace(one, value=other, reason=f"faster on the sample than {one.value}")
