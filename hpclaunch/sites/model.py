"""The site profile: every key a profile may have, what it means and what it may hold.

The docstring under each field is its documentation: the JSON schema (`hpclaunch site schema`) and
the reference are generated from here. Unknown keys are errors everywhere.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, model_validator

from hpclaunch.sites.environment import Conda, Container, Environment, Pixi
from hpclaunch.sites.queues import Queue, WalltimeBin
from hpclaunch.sites.scheduler_table import LsfTable, PbsTable, SchedulerTable, Table
from hpclaunch.sites.values import (
    BasePath,
    Count,
    CountOrNone,
    HostName,
    IdleLimit,
    Line,
    MemoryValue,
    Misfit,
    Name,
    SitePath,
    WalltimeValue,
    one_line,
)
from hpclaunch.units import Walltime

__all__ = [
    "Conda",
    "Container",
    "Dask",
    "Environment",
    "Login",
    "LsfTable",
    "Mpi",
    "Network",
    "Paths",
    "PbsTable",
    "Pixi",
    "Queue",
    "SchedulerTable",
    "SessionDefaults",
    "Site",
    "Table",
    "Templates",
    "WalltimeBin",
]


class Login(Table):
    """How the laptop gets to the login node."""

    transport: Literal["auto", "openssh", "paramiko", "local"] = "auto"
    """``auto`` takes OpenSSH where the laptop has it and paramiko otherwise."""

    host: Line | None = None
    """Host name, or an alias of the ssh configuration."""

    user: Line | None = None
    """Login name; by default what the ssh configuration says."""

    port: Annotated[int, Strict(), Field(gt=0, lt=65536)] | None = None
    """TCP port; by default what the ssh configuration says."""

    identity: Line | None = None
    """Private key file on the laptop."""

    ssh_config: Line | None = None
    """An ssh configuration file to use instead of the user's own; relative to this profile."""

    prologue: tuple[Line, ...] = ()
    """Lines of POSIX sh that run on the login node before every command, such as
    ``. /etc/profile.d/slurm.sh`` where only login shells find the scheduler."""

    connect_timeout: Annotated[int, Strict(), Field(gt=0, le=600)] = 20
    """Seconds to wait for the host to answer."""


class Paths(Table):
    """Directories on the site."""

    base: BasePath | None = None
    """Where sessions and hpclaunch's own files lie, seen by login and compute nodes alike; may
    begin with ``~/``, and hold ``{user}`` and other values in braces. By default ``~/.hpclaunch``;
    without a scheduler the user's data folder."""

    notebooks: SitePath | None = None
    """Root directory of JupyterLab, may begin with ``~/`` and hold values in braces; the home
    directory by default."""


class SessionDefaults(Table):
    """What a session asks for when the user asks for nothing else."""

    queue: Line | None = None
    """Queue of sessions; by default the scheduler table's ``default_queue``."""

    walltime: WalltimeValue = Walltime(4 * 3600)
    """How long the job may run."""

    cores: Count = 1
    """Cores of the job that runs JupyterLab."""

    memory: MemoryValue | None = None
    """Memory of the job that runs JupyterLab; the scheduler's default where it is left out."""

    gpus: CountOrNone = 0
    """GPUs of the job that runs JupyterLab."""

    environment: Name = "default"
    """Which of the environments."""

    start_timeout: Count = 120
    """Seconds that JupyterLab may take until it answers, counted on the compute node."""

    idle_limit: IdleLimit = Walltime(4 * 3600)
    """A session that nobody uses for so long ends by itself, with its workers: no browser is
    connected, no kernel is busy, no program runs in a terminal and Dask has no task. ``"0"`` lets
    it live until its walltime is over."""


class Dask(Table):
    """The Dask workers of a session."""

    workers: CountOrNone = 0
    """Workers when the user names no number; 0 means no Dask."""

    cores: Count = 1
    """Cores, and threads, of one worker."""

    memory: MemoryValue | None = None
    """Memory of one worker, what it needs for itself included; needed as soon as there are
    workers."""

    processes: Count = 1
    """Workers of one job, and of each node of a block where nobody says how many (at least two); on
    a site without scheduler there are no jobs."""

    queue: Line | None = None
    """Queue of the worker jobs; by default the session's."""

    walltime: WalltimeValue | None = None
    """Walltime of a worker job, by default the session's. A job that ends before the session is
    replaced by another."""

    local_directory: Line | None = None
    """Node-local directory for data that does not fit into memory, such as ``$TMPDIR``; may hold
    values in braces."""

    submit: Literal["node", "ssh", "laptop"] = "node"
    """Who submits worker jobs while the session runs: its own compute node; that node, by ``ssh``
    to a login node, which must let it in without a question; or hpclaunch on the laptop, where
    compute nodes can do neither. With ``laptop`` scaling waits while the laptop is away."""

    submit_host: HostName | None = None
    """The login node as compute nodes know it, for ``submit = "ssh"``; by default
    ``login.host``."""


class Mpi(Table):
    """Batch jobs, whose ranks MPI starts."""

    environment: Name | None = None
    """Which of the environments batch jobs use: one with mpi4py, dask-mpi and an MPI library; by
    default that of sessions."""

    launcher: Annotated[tuple[Line, ...], Field(min_length=1)] | None = None
    """The program and its first options, one word each, such as ``["srun", "--mpi=pmix"]`` or
    ``["mpirun"]``; how many ranks go where is added. By default SLURM's ``srun`` with the ``--mpi``
    that suits the MPI library of the environment, and without SLURM the environment's
    ``mpiexec``."""


class Network(Table):
    """The network between the nodes."""

    interface: Line | None = None
    """Interface name on compute nodes; a hint, what is found on the node wins."""


class Templates(Table):
    """Templates of the site's own for the scripts of jobs; they extend the shipped ones."""

    session: Line | None = None
    """File with the template of sessions' jobs, relative to this profile. It begins with
    ``{% extends "session.sh.j2" %}`` and fills some of the blocks that are offered."""

    batch: Line | None = None
    """The same of batch jobs: ``{% extends "batch.sh.j2" %}``."""


class Site(Table):
    """A site profile: what the machine is. Who the user is stands in ``user.toml``."""

    name: Name
    """Short name, as typed in ``hpclaunch start NAME``."""

    description: Annotated[str, AfterValidator(one_line)] = ""
    """One line for ``hpclaunch site list``."""

    login: Login = Login()
    """How to get there."""

    scheduler: SchedulerTable
    """What runs the jobs."""

    queues: tuple[Queue, ...] = ()
    """The queues, told by their limits."""

    environments: dict[Name, Environment] = Field(
        default_factory=dict, json_schema_extra={"additionalProperties": False}
    )
    """Python environments by name; sessions use ``default`` unless told otherwise."""

    paths: Paths = Paths()
    """Directories on the site."""

    session: SessionDefaults = SessionDefaults()
    """What a session asks for by default."""

    dask: Dask = Dask()
    """The Dask workers of a session."""

    mpi: Mpi = Mpi()
    """How the ranks of a batch job are started."""

    network: Network = Network()
    """The network between the nodes."""

    templates: Templates = Templates()
    """Templates of the site's own for the scripts of jobs."""

    values: dict[Name, Line] = Field(
        default_factory=dict, json_schema_extra={"additionalProperties": False}
    )
    """What stands in directives and directories as ``{name}``, by name: the profile has what suits
    most people or nothing, everybody's own stands in ``user.toml``. ``{account}`` and ``{user}``
    (the login name) need no entry."""

    account: Line | None = None
    """Account (project, budget) to charge; stands in ``user.toml``, not in a shared profile."""

    @model_validator(mode="after")
    def _whole(self) -> Site:
        if self.scheduler.kind == "local":
            if self.login.transport not in ("auto", "local"):
                raise Misfit(
                    ("login", "transport"), "must be 'local': scheduler 'local' runs here, no ssh"
                )
        elif self.login.host is None and self.login.transport != "local":
            raise Misfit(("login", "host"), "missing: the login node to reach")
        self.scheduler.check()
        for name, environment in self.environments.items():
            for key, what in environment.misfits():
                raise Misfit(("environments", name, key), what)
        self._check_queues()
        return self

    def _check_queues(self) -> None:
        names = [queue.name for queue in self.queues]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise Misfit(("queues", str(index), "name"), f"{name!r} is described twice")
        for index, queue in enumerate(self.queues):
            for key, what in self.scheduler.misses(queue.qos, queue.memory_as):
                raise Misfit(("queues", str(index), key), what)
            sizes = [one.max_nodes for one in queue.walltime_bins]
            if sizes != sorted(set(sizes)):
                raise Misfit(
                    ("queues", str(index), "walltime_bins"),
                    "must be in the order of max_nodes, fewest first and each once",
                )

    def queue(self, name: str | None) -> Queue | None:
        """The queue of that name, or None where the profile does not describe it."""
        return next((queue for queue in self.queues if queue.name == name), None)
