"""Advice on files, with the gain that a sample of them shows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hpclaunch.errors import HpclaunchError, UsageError
from hpclaunch.storage import filesystem
from hpclaunch.storage.advice import Advice, advise_facts
from hpclaunch.storage.advisetext import advised_lines
from hpclaunch.storage.blocks import Machine
from hpclaunch.storage.chunking import Access, access_as
from hpclaunch.storage.code import with_code
from hpclaunch.storage.cores import cores
from hpclaunch.storage.costs import index_gain, lock_cost
from hpclaunch.storage.describe import FileFacts, VariableFacts, find_variable
from hpclaunch.storage.inspection import Inspection, inspect
from hpclaunch.storage.mfdataset import files_of, here
from hpclaunch.storage.places import Place
from hpclaunch.storage.remote import refuse_urls
from hpclaunch.storage.sample import Sample, Subject
from hpclaunch.storage.trials import measure
from hpclaunch.storage.verdicts import judged, not_tried
from hpclaunch.storage.virtualadvice import virtual_advice
from hpclaunch.units import Memory

__all__ = ["Advised", "advise"]

SECONDS = 10.0
"""For all that is measured."""

_CANDIDATES = 16
"""Files that a sample may be of."""


@dataclass(frozen=True)
class Advised:
    """Advice on some files; printed, it is told in words.

    Attributes
    ----------
    paths : tuple of str
    place : Place
        Of the first file.
    machine : Machine
    access : {"map", "series", "all"}
    advice : tuple of Advice
    sample : Sample or None
        What was measured on.
    unmeasured : str
        Why there is no sample.
    notes : tuple of str
    """

    paths: tuple[str, ...]
    place: Place
    machine: Machine
    access: Access
    advice: tuple[Advice, ...]
    sample: Sample | None = None
    unmeasured: str = ""
    notes: tuple[str, ...] = ()

    def __getitem__(self, key: str) -> Advice:
        """The first advice of a key, such as ``"chunks"``."""
        for one in self.advice:
            if one.key == key:
                return one
        raise KeyError(key)

    def __str__(self) -> str:
        return "\n".join(advised_lines(self))


def advise(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    access: Access = "all",
    workers: int | None = None,
    memory: str | int | None = None,
    threads: int | None = None,
    sample: bool = True,
    seconds: float = SECONDS,
) -> Advised:
    """Advise how files are best read, and measure on a part of them what that brings.

    Nothing is written but the index in its cache directory. The sample holds at most 256 MB of
    decoded values, and is read by threads of this process; a Dask cluster is not asked to work.

    Parameters
    ----------
    paths : str, path or iterable of these
        A pattern such as ``"data/*.nc"``, or files that are laid out alike: the first one speaks
        for all of them.
    access : {"map", "series", "all"}
        What they are read for.
    workers, threads : int, optional
        Processes, and threads of each; by default those of the current `distributed.Client`, or
        this process.
    memory : str or int, optional
        Of each worker: ``"4 GB"``, or bytes.
    sample : bool, default True
        Whether anything is measured.
    seconds : float
        After which no further trial begins.

    Returns
    -------
    Advised

    Raises
    ------
    UsageError
        If a value has no meaning, or there are no paths.
    FileNotFoundError, PermissionError
        As the system says.
    StorageError, CorruptFile
        If one of the files that are looked at cannot be read.
    """
    files, pattern = files_of(paths), _access(access)
    refuse_urls(
        files,
        ": nothing is advised on URLs",
        "`hpclaunch data inspect URL` tells how the file is laid out",
    )
    machine = _machine(workers, threads, memory)
    some = dict.fromkeys((files[0], files[len(files) // 2], files[-1]))
    looked = [inspect(path) for path in some]
    found = looked[0]
    leader = _leader(found.facts)
    advice = advise_facts(found.facts, found.place, machine, pattern, files=len(files))
    advice = (*advice, virtual_advice(found.facts, found.place, advice, files=len(files)))
    advice = tuple(_lock(one, found.facts.path) for one in advice)
    why, tried = "not asked for", None
    if sample:
        tried, why = _tried(files, found, leader, advice, (pattern, machine), seconds)
    if tried is not None and leader is not None:
        advice = judged(advice, tried, leader, machine, index=lambda: index_gain(found.facts))
    advice = with_code(advice, pattern, leader.name if leader else None)
    return Advised(
        paths=tuple(files),
        place=found.place,
        machine=machine,
        access=pattern,
        advice=tuple(not_tried(one, why) for one in advice),
        sample=tried,
        unmeasured=why,
        notes=tuple(_notes(looked)),
    )


def _access(text: str) -> Access:
    try:
        return access_as(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _machine(workers: int | None, threads: int | None, memory: str | int | None) -> Machine:
    for name, number in (("workers", workers), ("threads", threads)):
        if number is not None and number < 1:
            raise UsageError(f"{name} {number}: at least 1")
    try:
        each = Memory.parse(memory).bytes if isinstance(memory, str) else memory
    except ValueError as error:
        raise UsageError(f"memory: {error}") from error
    if each is not None and each < 1:
        raise UsageError(f"memory {each}: more than 0 bytes")
    now = here()
    return Machine(workers or now.workers, threads or now.threads, each or now.memory)


def _leader(facts: FileFacts) -> VariableFacts | None:
    """The variable that is measured: the largest that is decoded here."""
    usable = [
        one
        for one in facts.variables
        if one.nbytes
        and len(one.shape) > 1
        and not one.reason
        and len({*one.dims}) == len(one.dims)
    ]
    return max(usable, key=lambda one: one.nbytes or 0, default=None)


def _notes(looked: Sequence[Inspection]) -> Iterable[str]:
    first, *others = looked
    for other in others:
        if _form(other.facts) != _form(first.facts):
            yield f"{other.facts.path} is laid out otherwise than {first.facts.path}"
    if first.place.offline == "perhaps":
        yield f"{first.facts.path} has hardly any blocks: it may lie on tape"


def _form(facts: FileFacts) -> object:
    form = [(one.name, one.dims, one.dtype, one.chunks, one.filters) for one in facts.variables]
    return [one for one in form if one[1]]


def _tried(
    files: Sequence[str],
    found: Inspection,
    leader: VariableFacts | None,
    advice: Sequence[Advice],
    reader: tuple[Access, Machine],
    seconds: float,
) -> tuple[Sample | None, str]:
    """The sample, or why there is none."""
    variable = None if leader is None else find_variable(found.index, leader.name)
    if leader is None or variable is None:
        return None, "no variable of two or more dimensions is decoded here"
    pieces = {one.about: one.value for one in advice if one.key == "chunks"}
    chunks = pieces[leader.name]
    assert isinstance(chunks, Mapping)
    subject = Subject(
        paths=tuple(path for path in files[:_CANDIDATES] if _at_hand(path)),
        group="/" + leader.name.strip("/").rpartition("/")[0],
        variable=variable,
        block=tuple(chunks[dim] for dim in leader.dims),
        pattern=reader[0],
        threads=min(reader[1].threads, cores()),
    )
    try:
        tried = measure(subject, seconds=seconds)
    except (HpclaunchError, OSError, KeyError, ValueError) as error:
        return None, f"the sample could not be read: {error}"
    return (None, tried) if isinstance(tried, str) else (tried, "")


def _at_hand(path: str) -> bool:
    """Whether a file is there, and not on tape."""
    try:
        return filesystem.place(path).offline != "yes"
    except (OSError, HpclaunchError):
        return False


def _lock(one: Advice, path: str) -> Advice:
    """What a lock costs here, where advice is about locks."""
    if one.key != "HDF5_USE_FILE_LOCKING":
        return one
    cost = lock_cost(path)
    if isinstance(cost, str):
        told = f"a lock was refused here: {cost}"
    else:
        told = f"a lock and its release take {cost * 1e3:.2g} ms here"
    return replace(one, reason=f"{one.reason}; {told}")
