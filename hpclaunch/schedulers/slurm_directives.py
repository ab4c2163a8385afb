"""A job's options as sbatch knows them, and as the lines of a script that sbatch reads.

Slurm's own reader of ``#SBATCH`` lines is not a shell: a backslash escapes the next character
inside every kind of quotes (``get_argument`` in Slurm's src/sbatch/opt.c, the same in 22.05 and
26.05). All else of a POSIX word means the same to it.
"""

from __future__ import annotations

import re

from hpclaunch.schedulers.base import JobSpec
from hpclaunch.shell import quote

__all__ = ["directive", "options"]

_NAMED = re.compile(r"(--[a-z][a-z0-9-]*=)(.*)", re.DOTALL | re.ASCII)


def options(spec: JobSpec) -> list[str]:
    """The options of `spec`, each one argument of sbatch, in a fixed order; `extra` comes last.

    Raises
    ------
    ValueError
        If a value cannot be said to Slurm: a newline or NUL character anywhere, no name, a log
        that is relative or holds a backslash (Slurm would drop it), an `extra` that is no option.
    """
    pairs: list[tuple[str, object]] = [
        ("job-name", spec.name),
        ("output", _log(spec)),
        ("time", spec.walltime.clock()),
        ("nodes", spec.nodes),
        ("ntasks-per-node", spec.tasks_per_node),
        ("cpus-per-task", spec.cores),
        *_memory(spec),
        ("gpus-per-node", spec.gpus or None),
        ("partition", spec.queue),
        ("account", spec.account),
        ("qos", spec.qos),
    ]
    if not spec.name:
        raise ValueError("a job needs a name, or it could not be found again")
    words = [f"--{name}={value}" for name, value in pairs if value is not None]
    # A requeued job would start a second session under a name and a directory already used.
    words += ["--no-requeue"]
    words += [f"--array=0-{spec.copies - 1}"] if spec.copies > 1 else []
    words += spec.extra
    for word in words:
        if not word.startswith("-"):
            raise ValueError(f"{word!r} is no option of sbatch; write --name=value in one word")
        if "\n" in word or "\0" in word:
            raise ValueError(f"a newline or NUL character cannot stand in a directive: {word!r}")
    return words


def _memory(spec: JobSpec) -> list[tuple[str, object]]:
    if spec.memory_as == "whole":
        return [("mem", 0)]
    if spec.memory is None or spec.memory_as == "none":
        return []
    if spec.memory_as == "core":
        cores = spec.tasks_per_node * spec.cores
        return [("mem-per-cpu", f"{-(-spec.memory.in_mib() // cores)}M")]
    return [("mem", f"{spec.memory.in_mib()}M")]


def directive(option: str) -> str:
    """Return one option as a line of a batch script.

    Examples
    --------
    >>> directive("--job-name=a b")
    "#SBATCH --job-name='a b'"
    """
    match = _NAMED.fullmatch(option)
    name, value = match.groups() if match else ("", option)
    return f"#SBATCH {name}{quote(value.replace(chr(92), chr(92) * 2))}"


def _log(spec: JobSpec) -> str:
    """The log as a Slurm file name pattern, in which ``%`` begins a replacement symbol."""
    path = spec.log
    if not path.startswith("/"):
        raise ValueError(f"the log of a job must be an absolute path, not {path!r}")
    if "\\" in path:
        raise ValueError(f"Slurm cannot write to a path with a backslash in it: {path!r}")
    each = "" if not path.endswith("/") else "%A_%a.log" if spec.copies > 1 else "%j.log"
    return path.replace("%", "%%") + each
