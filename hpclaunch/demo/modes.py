"""How a make-believe scheduler can misbehave, and how that is said: ``NAME`` or ``NAME=HOW``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hpclaunch.demo.spool import Spool

__all__ = ["MODES", "REFUSAL", "WAITING", "Mode", "read_mode", "table"]


@dataclass(frozen=True)
class Mode:
    """One way to misbehave.

    Attributes
    ----------
    takes : {"words", "seconds", "number", None}
        What is said behind the ``=``; None where the name says all.
    does : str
        What happens then.
    """

    takes: Literal["words", "seconds", "number"] | None
    does: str


MODES = {
    "hold": Mode("words", "jobs that come from now on wait, for this reason"),
    "refuse": Mode("words", "no job is taken, and these are the words"),
    "chatter": Mode("words", "said before the answer to a submit"),
    "mute": Mode(None, "a submit is not answered, though its job is taken"),
    "delay": Mode("seconds", "a submit takes so long"),
    "die": Mode("seconds", "jobs that come from now on are killed after so long"),
    "end_in": Mode("seconds", "those jobs are told that they end so long after their start"),
    "grace": Mode("seconds", "between the signals that end a job"),
    "silence": Mode(None, "questions are not answered"),
    "forget": Mode(None, "jobs that are over are not known any more"),
    "lag": Mode("seconds", "until an event shows in what is answered"),
    "array_size": Mode("number", "most tasks of an array, and one more (Slurm)"),
}
"""By the name of the file in the spool that switches it on."""

WAITING = {
    "slurm": "Priority",
    "pbs": "Not Running: Insufficient amount of resource: ncpus (R: 8 A: 5 T: 8)",
    "lsf": "Job slot limit reached: 2 hosts",
}
"""Why a job waits, in the words of each scheduler."""

REFUSAL = {
    "slurm": "sbatch: error: Batch job submission failed: Invalid account or account/partition "
    "combination specified",
    "pbs": "qsub: Job violates queue and/or server resource limits",
    "lsf": "normal: User cannot use the queue. Job not submitted.",
}
"""Why a job is refused, in the words of each scheduler."""


def read_mode(kind: str, text: str) -> tuple[str, str]:
    """The name of a mode and what is to stand in its file.

    Parameters
    ----------
    kind : {"slurm", "pbs", "lsf"}
        Whose usual words are meant where ``hold`` and ``refuse`` say none.
    text : str
        ``NAME`` or ``NAME=HOW``.

    Raises
    ------
    ValueError
        If there is no such mode, or it cannot be told that.

    Examples
    --------
    >>> read_mode("slurm", "hold")
    ('hold', 'Priority')
    >>> read_mode("pbs", "delay=2.5")
    ('delay', '2.5')
    """
    name, _, how = text.partition("=")
    if name not in MODES:
        raise ValueError(f"there is no mode {name!r}; there are {', '.join(MODES)}")
    takes = MODES[name].takes
    usual = {"hold": WAITING, "refuse": REFUSAL}.get(name)
    if not how and usual:
        return name, usual[kind]
    if takes is None:
        if how:
            raise ValueError(f"{name} takes nothing behind a =")
        return name, ""
    if not how:
        raise ValueError(f"{name} needs {takes}: {name}=...")
    if takes != "words" and not _is_number(how, whole=takes == "number"):
        raise ValueError(f"{name} is told in {takes}, not {how!r}")
    return name, how + "\n" if name == "chatter" else how


def table(spool: Spool) -> Iterator[str]:
    """A line for each mode: whether it is on, what it is told, what it does."""
    for name, mode in MODES.items():
        how = spool.mode(name)
        told = name + (f"={mode.takes.upper()}" if mode.takes else "")
        now = "" if how is None else f"  (on{': ' + how.strip() if how.strip() else ''})"
        yield f"  {told:<20} {mode.does}{now}"


def _is_number(text: str, *, whole: bool) -> bool:
    digits: Sequence[str] = [text] if whole else text.split(".", 1)
    return all(part.isascii() and part.isdigit() for part in digits)
