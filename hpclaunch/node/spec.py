"""``session.json``: what the laptop asks the agent to do.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from hpclaunch.node.container import Container
from hpclaunch.node.files import read_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.sight import Sights
from hpclaunch.units import MemoryAs, memory_as

__all__ = [
    "NOTEBOOK",
    "Batch",
    "Block",
    "Session",
    "SpecError",
    "WorkerJobs",
    "read_session",
    "session_from",
]

VERSION = 1
START_TIMEOUT = 120.0
"""Seconds that Jupyter and the Dask scheduler may take to answer, where the laptop says nothing."""


NOTEBOOK = ".ipynb"
"""How the name of a notebook ends."""


class SpecError(ValueError):
    """``session.json`` is not one that this agent can act on; names the key."""


@dataclass(frozen=True)
class WorkerJobs:
    """How one Dask worker is started: as a job of its own, or as a process in this job.

    Attributes
    ----------
    cores : int
        Threads of one worker.
    memory : int
        Memory of one worker, bytes, what its own processes need included.
    processes : int
        Workers of one job.
    max_jobs : int or None
        Most worker jobs at one time.
    submit : str
        Who submits worker jobs: ``"node"``, ``"ssh"`` (this node, by the login node) or
        ``"laptop"``.
    submit_host : str or None
        The login node for ``"ssh"``.
    submit_prologue : tuple of str
        Lines of sh that run on the login node before a command.
    walltime : int or None
        Seconds that a worker job may run.
    queue, account, qos : str or None
    memory_as : MemoryAs
        How memory is asked for.
    job_name : str or None
        Name of the worker jobs, by which they can be found and cancelled.
    extra_directives : tuple of str
        Further options of the submit command, one each.
    setup : tuple of str
        Lines of sh that prepare the environment (modules and the like).
    epilogue : tuple of str
        Lines of sh that run when a worker job ends.
    local_directory : str or None
        Where workers spill; None lets Dask decide.
    """

    cores: int
    memory: int
    walltime: Optional[int] = None
    queue: Optional[str] = None
    account: Optional[str] = None
    qos: Optional[str] = None
    memory_as: MemoryAs = "node"
    job_name: Optional[str] = None
    extra_directives: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    epilogue: tuple[str, ...] = ()
    local_directory: Optional[str] = None
    processes: int = 1
    max_jobs: Optional[int] = None
    submit: str = "node"
    submit_host: Optional[str] = None
    submit_prologue: tuple[str, ...] = ()

    def jobs_for(self, workers: int) -> int:
        """How many jobs make so many workers."""
        return -(-workers // self.processes)


@dataclass(frozen=True)
class Block:
    """Dask on the ranks of one job: the first are no workers, and lie on the first node.

    Attributes
    ----------
    nodes, workers_per_node : int
    others : int
        Ranks that are no workers: the scheduler and, in a batch, the one that runs the script.
    threads : int
        Of one worker.
    memory : int
        What the ranks of a node may use together, bytes.
    launcher : tuple of str or None
        What starts the ranks; None: what fits scheduler and MPI library.
    """

    nodes: int
    workers_per_node: int
    others: int
    threads: int
    memory: int
    launcher: Optional[tuple[str, ...]] = None

    @property
    def workers(self) -> int:
        """All workers."""
        return self.nodes * self.workers_per_node

    @property
    def ranks(self) -> int:
        """All ranks."""
        return self.workers + self.others


@dataclass(frozen=True)
class Batch:
    """What a batch job runs on its block.

    Attributes
    ----------
    program : str
        The script or notebook, an absolute path.
    arguments : tuple of str
    """

    program: str
    arguments: tuple[str, ...]

    @property
    def is_notebook(self) -> bool:
        """Whether the program is a notebook."""
        return self.program.endswith(NOTEBOOK)


@dataclass(frozen=True)
class Session:
    """A session, or a batch job, as the agent knows it.

    Attributes
    ----------
    directory : str
        Absolute path of the session directory.
    name, nonce : str
    scheduler : str
        ``"slurm"``, ``"pbs"``, ``"lsf"`` or ``"local"``.
    scheduler_options : tuple of str
        What every command of the scheduler needs, such as ``--clusters=c5``.
    scheduler_quirks : mapping
        What is special about the scheduler of this site, such as its unit of memory.
    root_dir : str or None
        Where notebooks live or a batch runs, a leading ``~/`` expanded; None is the home directory.
    ends_in : float or None
        Seconds from the start of the job to its end; None has no limit.
    interface : str or None
        Name of the network interface the site recommends; a hint.
    start_timeout : float
        Seconds until a start counts as hanging.
    idle_limit : float or None
        Seconds without use after which the session ends by itself; None never.
    insecure : bool
        Whether Dask's processes speak plain tcp, which the user has asked for.
    mode : str or None
        ``"jobqueue"``, ``"local"``, ``"mpi"``, or None for a session without a cluster.
    workers : int
        Number of Dask workers.
    jobs : WorkerJobs or None
        How a worker is started; also the defaults of a cluster that the user makes.
    block : Block or None
        The ranks of a batch job, or of a session whose workers are ranks.
    batch : Batch or None
        What a batch job runs; None for a session.
    container : Container or None
        The image in which all of it runs.
    sights : Sights or None
        What the agent measures of its node first; None where the session is no check.
    """

    directory: str
    name: str
    nonce: str
    scheduler: str
    scheduler_options: tuple[str, ...] = ()
    root_dir: Optional[str] = None
    ends_in: Optional[float] = None
    interface: Optional[str] = None
    start_timeout: float = START_TIMEOUT
    idle_limit: Optional[float] = None
    insecure: bool = False
    mode: Optional[str] = None
    workers: int = 0
    jobs: Optional[WorkerJobs] = None
    block: Optional[Block] = None
    batch: Optional[Batch] = None
    scheduler_quirks: Mapping[str, Any] = field(default_factory=dict)
    container: Optional[Container] = None
    sights: Optional[Sights] = None

    def path(self, name: str) -> str:
        """Absolute path of a file of the session, by its name in `Layout`."""
        return posixpath.join(self.directory, name)  # on the site, wherever this is asked

    @property
    def worker_job_name(self) -> str:
        """The name of all worker jobs, by which they can be found and cancelled."""
        named = self.jobs.job_name if self.jobs else None
        return named or "hpclaunch-{}-{}-w".format(self.name, self.nonce)

    @property
    def protocol(self) -> str:
        """What Dask's processes speak to one another: ``"tls://"`` unless the user forbade it."""
        return "tcp://" if self.insecure else "tls://"

    @property
    def is_local(self) -> bool:
        """Whether the session runs on the person's own machine: nobody else may connect."""
        return self.scheduler == "local"

    @property
    def work_dir(self) -> str:
        """Where notebooks, kernels, scripts and workers start."""
        return self.root_dir or os.path.expanduser("~")


def read_session(directory: str) -> Session:
    """Read the session's specification.

    Raises
    ------
    SpecError
        If ``session.json`` is missing, is not JSON or lacks something.
    """
    directory = os.path.abspath(directory)
    path = os.path.join(directory, Layout.SPEC)
    try:
        fields = read_json(path)
    except (OSError, ValueError) as error:
        raise SpecError("{} cannot be read: {}".format(path, error)) from error
    if not isinstance(fields, dict) or fields.get("version") != VERSION:
        found = fields.get("version") if isinstance(fields, dict) else type(fields).__name__
        raise SpecError("{}: version must be {}, not {!r}".format(path, VERSION, found))
    try:
        return session_from(directory, fields)
    except KeyError as error:
        raise SpecError("{}: {} is missing".format(path, error)) from error
    except (TypeError, ValueError) as error:
        raise SpecError("{}: {}".format(path, error)) from error


def session_from(directory: str, fields: Mapping[str, Any]) -> Session:
    """The session in `directory` whose specification holds `fields`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If something is missing or wrong.
    """
    dask, block = fields.get("dask"), fields.get("block")
    mode = dask["mode"] if dask else None
    if mode not in (None, "jobqueue", "local", "mpi"):
        raise ValueError("dask.mode must be 'jobqueue', 'local' or 'mpi', not {!r}".format(mode))
    jobs = dask if dask and mode != "mpi" else fields.get("jobqueue")
    if not block and (mode == "mpi" or fields.get("batch")):
        raise ValueError("block is missing: nobody says how many ranks there are")
    if dask and mode == "jobqueue":
        if fields["scheduler"] == "local":
            raise ValueError("dask.mode 'jobqueue' needs a batch scheduler")
        if dask.get("walltime") is None:
            raise ValueError("dask.walltime is missing: worker jobs need one")
    ends_in, idle_limit = fields.get("ends_in"), fields.get("idle_limit")
    return Session(
        directory=directory,
        name=str(fields["name"]),
        nonce=str(fields["nonce"]),
        scheduler=str(fields["scheduler"]),
        scheduler_options=tuple(fields.get("scheduler_options") or ()),
        root_dir=os.path.expanduser(fields["root_dir"]) if fields.get("root_dir") else None,
        ends_in=None if ends_in is None else float(ends_in),
        interface=fields.get("interface"),
        start_timeout=float(fields.get("start_timeout") or START_TIMEOUT),
        idle_limit=None if idle_limit is None else float(idle_limit),
        insecure=bool(fields.get("insecure_dask")),
        mode=mode,
        workers=int(dask["workers"]) if dask else 0,
        jobs=_worker_jobs(jobs) if jobs else None,
        block=_block(block) if block else None,
        batch=_batch(directory, fields["batch"]) if fields.get("batch") else None,
        scheduler_quirks=dict(fields.get("scheduler_quirks") or {}),
        container=_container(fields["container"]) if fields.get("container") else None,
        sights=Sights.from_dict(fields["sights"]) if fields.get("sights") else None,
    )


def _container(fields: Mapping[str, Any]) -> Container:
    return Container(
        image=str(fields["image"]),
        command=tuple(fields["command"]),
        options=tuple(fields["options"]),
        binds=tuple(fields["binds"]),
    )


def _batch(directory: str, fields: dict[str, Any]) -> Batch:
    program = os.path.expanduser(fields["program"])
    return Batch(os.path.join(directory, program), tuple(fields["arguments"]))


def _block(fields: dict[str, Any]) -> Block:
    launcher = fields.get("launcher")
    return Block(
        nodes=int(fields["nodes"]),
        workers_per_node=int(fields["workers_per_node"]),
        others=int(fields["others"]),
        threads=int(fields["threads"]),
        memory=int(fields["memory"]),
        launcher=None if launcher is None else tuple(launcher),
    )


def _worker_jobs(fields: dict[str, Any]) -> WorkerJobs:
    walltime = fields.get("walltime")
    submit, submit_host = str(fields.get("submit") or "node"), fields.get("submit_host")
    if submit not in ("node", "ssh", "laptop"):
        raise ValueError("submit must be 'node', 'ssh' or 'laptop', not {!r}".format(submit))
    if submit == "ssh" and not submit_host:
        raise ValueError("submit_host is missing: submit 'ssh' needs one")
    return WorkerJobs(
        cores=int(fields["cores"]),
        memory=int(fields["memory"]),
        walltime=None if walltime is None else int(walltime),
        queue=fields.get("queue"),
        account=fields.get("account"),
        qos=fields.get("qos"),
        memory_as=memory_as(str(fields.get("memory_as") or "node")),
        job_name=fields.get("job_name"),
        extra_directives=tuple(fields.get("extra_directives") or ()),
        setup=tuple(fields.get("setup") or ()),
        epilogue=tuple(fields.get("epilogue") or ()),
        local_directory=fields.get("local_directory"),
        processes=int(fields.get("processes") or 1),
        max_jobs=None if fields.get("max_jobs") is None else int(fields["max_jobs"]),
        submit=submit,
        submit_host=submit_host,
        submit_prologue=tuple(fields.get("submit_prologue") or ()),
    )
