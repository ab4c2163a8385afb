"""The ranks of a job: which MPI library is there, what starts them, how one died.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Optional

from hpclaunch.node import outside
from hpclaunch.node.failure import Failure
from hpclaunch.node.granted import hosts_told
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Block

__all__ = [
    "command",
    "death",
    "hosts",
    "library_name",
    "log_of",
    "missing",
    "mpi_library",
    "role",
    "surroundings_of",
]

_PATIENCE = 60.0  # seconds for a program that only says what it is
_ASK = (
    "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; "
    "print(MPI.Get_library_version())"
)
# The process management interface by which SLURM's srun speaks to a library.
_PMI = (("Open MPI", "pmix"), ("Intel(R) MPI", "pmi2"), ("MPICH", "pmi2"), ("MVAPICH", "pmi2"))
# Options of the job's own submit that srun reads from the environment; they describe the job, with
# one task on each node, not our step.
_OF_THE_JOB = (
    *("SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE", "SLURM_CPUS_PER_TASK"),
    *("SLURM_TRES_PER_TASK", "SLURM_DISTRIBUTION", "SLURM_CPU_BIND", "SLURM_HINT"),
)
_DEATHS = (
    re.compile(r"srun: error: (?P<host>\S+): tasks? (?P<rank>\d+)[\d,-]*: (?P<how>[^\n]+)"),
    re.compile(
        r"process rank (?P<rank>\d+) with PID \d+ on node (?P<host>\S+) (?P<how>exited on [^\n.]+)"
    ),
    # MPICH names a rank too, but often one that it has just killed itself.
    re.compile(
        r"BAD TERMINATION .*?=\s+(?P<how>KILLED BY SIGNAL: [^\n]+|EXIT CODE: \d+)", re.DOTALL
    ),
)


def role(rank: int, others: int) -> str:
    """What a rank is to dask-mpi, where the first `others` are no workers."""
    names = ("the Dask scheduler", "the script")[:others]
    return "{} (rank {})".format(names[rank] if rank < others else "a Dask worker", rank)


def log_of(rank: int) -> str:
    """Where in the session's directory a rank's own output goes; that of rank 1 is the job's."""
    return "{}/rank-{}.log".format(Layout.WORKERS, rank)


def missing(*names: str) -> Optional[str]:
    """Which packages the environment lacks, in words; None if it has all."""
    absent = [name for name in names if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    lack = " and no ".join(name.replace("_", "-") for name in absent)
    return "the Python environment of {} has no {}".format(sys.executable, lack)


def mpi_library(surroundings: Mapping[str, str]) -> str:
    """The MPI library that mpi4py loads, in its own words; nothing is initialised for that.

    Raises
    ------
    Failure
        If there is none.
    """
    what = "mpi4py of {} cannot load an MPI library".format(sys.executable)
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK],
            env=dict(surroundings),
            cwd=sys.prefix,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise Failure.no_mpi(what + " within {:.0f} s".format(_PATIENCE)) from None
    said = asked.stdout.decode("utf-8", "replace").strip()
    if asked.returncode != 0 or not said:
        trouble = asked.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Failure.no_mpi(what, trouble[-1] if trouble else None)
    return library_name(said)


def library_name(version: str) -> str:
    """The library and its version, of all that ``MPI_Get_library_version`` says."""
    return " ".join(version.splitlines()[0].partition(",")[0].strip("\0").split())


def hosts(surroundings: Mapping[str, str], nodes: int) -> list[str]:
    """The nodes of the job, the one that runs this first.

    Raises
    ------
    Failure
        If the scheduler does not tell as many as were asked for.
    """
    if nodes == 1:
        return ["localhost"]
    named, trouble = surroundings.get("SLURM_JOB_NODELIST"), ""
    try:
        if named:
            found, trouble = _expanded(named)
        else:
            told = hosts_told(surroundings)
            if told is None:
                return ["localhost"]
            found = told
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure.no_launcher("the job's nodes are not known: {}".format(error)) from None
    if len(found) != nodes:
        raise Failure.no_launcher("the job has {} nodes, not {}".format(len(found), nodes), trouble)
    return found


def _expanded(named: str) -> tuple[list[str], str]:
    """The names of Slurm's list of nodes, and what it complains of."""
    argv = ["scontrol", "show", "hostnames", named]
    asked = subprocess.run(argv, capture_output=True, timeout=_PATIENCE, check=False)
    return asked.stdout.decode("utf-8", "replace").split(), asked.stderr.decode("utf-8", "replace")


def command(
    block: Block,
    library: str,
    surroundings: Mapping[str, str],
    places: Sequence[str],
    hosts_file: str,
) -> tuple[list[str], str]:
    """What starts the ranks, and the text of the file `hosts_file` that it reads.

    The argv lacks its last words: the program of a rank.

    Parameters
    ----------
    block : Block
    library : str
        As `mpi_library` gives it.
    surroundings : mapping
        The environment of the job.
    places : sequence of str
        As `hosts` gives them.
    hosts_file : str
        Path of a file that will hold the text.

    Raises
    ------
    Failure
        If there is no launcher, or not one that we know how to tell where ranks go.
    """
    launcher = list(block.launcher or _usual_launcher(library, surroundings))
    if surroundings.get(outside.DIRECTORY):  # its path is one outside the image
        launcher[0] = os.path.basename(launcher[0])
    program = shutil.which(launcher[0], path=surroundings.get("PATH"))
    if program is None:
        raise Failure.no_launcher("{} is not here, so no rank can be started".format(launcher[0]))
    counts = dict.fromkeys(places, block.workers_per_node)
    counts[places[0]] += block.others
    each = [place for place in places for _ in range(counts[place])]
    several = len(places) > 1
    if os.path.basename(program) == "srun":
        # The list of hosts says how many nodes; newer releases refuse to be told beside it.
        where = ["--distribution=arbitrary"] if several else ["--nodes=1"]
        return [
            *launcher,
            *where,
            "--ntasks={}".format(block.ranks),
            "--overcommit",  # the scheduler and the script have no cores of their own
            "--cpu-bind=none",
            "--kill-on-bad-exit=1",
        ], "".join(place + "\n" for place in each)
    if _is_open_mpi(program, surroundings):
        where = ["--hostfile", hosts_file, "--map-by", "seq"] if several else []
        where += ["-x", "PYTHONPATH", "-x", "DASK_CONFIG"] if several else []
        text = "".join(place + "\n" for place in each)
        return [*launcher, *where, "--oversubscribe", "--bind-to", "none", *_count(block)], text
    where = ["-f", hosts_file] if several else []
    text = "".join("{}:{}\n".format(place, count) for place, count in counts.items())
    return [*launcher, *where, *_count(block)], text


def surroundings_of(
    argv: Sequence[str], surroundings: Mapping[str, str], hosts_file: str, several: bool
) -> dict[str, str]:
    """The environment for the launcher `argv`: the job's, without what describes the job to it."""
    if os.path.basename(argv[0]) != "srun":
        return dict(surroundings)
    kept = {name: value for name, value in surroundings.items() if name not in _OF_THE_JOB}
    return {**kept, "SLURM_HOSTFILE": hosts_file} if several else kept


def death(log: str, others: int) -> Optional[tuple[str, str, Optional[int]]]:
    """Who died first, how, and its rank, as the launcher says it in its log.

    Parameters
    ----------
    log : str
    others : int
        See `Block`.

    Examples
    --------
    >>> death("srun: error: c2: task 3: Killed\\n", 2)
    ('a Dask worker (rank 3) on c2', 'Killed', 3)
    """
    found = [match for one in _DEATHS for match in one.finditer(log)]
    if not found:
        return None
    told = min(found, key=lambda match: match.start()).groupdict()
    how = told["how"].strip()
    if told.get("rank") is None:
        return "a rank", how, None
    rank = int(told["rank"])
    return "{} on {}".format(role(rank, others), told["host"]), how, rank


def _usual_launcher(library: str, surroundings: Mapping[str, str]) -> list[str]:
    """What fits scheduler and library where the profile says nothing."""
    if "SLURM_JOB_ID" in surroundings:
        pmi = next((pmi for name, pmi in _PMI if name in library), None)
        if "SLURM_MPI_TYPE" in surroundings or "CRAY" in library or pmi is None:
            return ["srun"]
        if pmi in _spoken_by_srun(surroundings):
            return ["srun", "--mpi={}".format(pmi)]
    own = os.path.join(os.path.dirname(sys.executable), "mpiexec")
    return [own if os.path.exists(own) else "mpiexec"]


def _spoken_by_srun(surroundings: Mapping[str, str]) -> list[str]:
    """The interfaces that this SLURM was built with; all that we know where it does not say.

    Debian's 26.05, for one, has no pmix.
    """
    known = sorted({pmi for _, pmi in _PMI})
    try:
        asked = subprocess.run(
            ["srun", "--mpi=list"],
            env=dict(surroundings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return known
    # Newer releases say it on stdout, older ones on stderr.
    said = (asked.stdout + asked.stderr).decode("utf-8", "replace")
    return said.split() if "MPI plugin types" in said else known


def _count(block: Block) -> list[str]:
    return ["-n", str(block.ranks)]


def _is_open_mpi(program: str, surroundings: Mapping[str, str]) -> bool:
    """Whether an mpiexec is Open MPI's; else it is taken for MPICH's hydra, as Intel's is one.

    Raises
    ------
    Failure
        If it does not say.
    """
    try:
        asked = subprocess.run(
            [program, "--version"],
            env=dict(surroundings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure.no_launcher("{} cannot be run: {}".format(program, error)) from None
    said = (asked.stdout + asked.stderr).decode("utf-8", "replace")
    if re.search(r"open-?mpi|open mpi|openrte|prte", said, re.IGNORECASE):
        return True
    if re.search(r"hydra|intel\(r\) mpi|mpich", said, re.IGNORECASE):
        return False
    raise Failure.no_launcher("{} is no launcher that we know".format(program), said.strip())
