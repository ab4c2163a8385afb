"""What was found at a site. None means everywhere: it could not be told."""

from __future__ import annotations

from dataclasses import dataclass

from hpclaunch.units import Memory, Walltime

__all__ = [
    "FoundEnvironment",
    "FoundFilesystem",
    "FoundInterface",
    "FoundNodes",
    "FoundQueue",
    "Survey",
]


@dataclass(frozen=True)
class FoundNodes:
    """Nodes that are alike.

    Attributes
    ----------
    count : int
    cores : int
        As the scheduler counts CPUs.
    memory : Memory or None
        What the scheduler lets jobs have of one node.
    gpus : int
    features : tuple of str
        Words by which jobs can ask for them.
    exclusive : bool or None
        Whether jobs get such nodes whole.
    """

    count: int
    cores: int
    memory: Memory | None = None
    gpus: int = 0
    features: tuple[str, ...] = ()
    exclusive: bool | None = None


@dataclass(frozen=True)
class FoundQueue:
    """A queue (SLURM: partition) and its limits."""

    name: str
    default: bool = False
    open: bool = True
    """Whether it takes and runs jobs."""
    max_walltime: Walltime | None = None
    min_nodes: int | None = None
    max_nodes: int | None = None
    max_jobs: int | None = None
    """Most jobs of one user."""
    nodes: tuple[FoundNodes, ...] = ()
    """Its kinds of nodes, most numerous first."""
    allowed: bool | None = None
    """Whether this user may submit to it."""
    exclusive: bool | None = None
    """Whether jobs get whole nodes."""
    total_nodes: int | None = None
    qos: str | None = None
    """SLURM's QOS that jobs must name, where the user's default one is not admitted."""


@dataclass(frozen=True)
class FoundInterface:
    """A network interface of the login node."""

    name: str
    address: str
    kind: str = ""
    """``ethernet``, ``infiniband``, ``loopback``, or empty."""


@dataclass(frozen=True)
class FoundFilesystem:
    """Where a directory that matters lies."""

    path: str
    kind: str
    """``lustre``, ``gpfs``, ``beegfs``, ``nfs``, ..., or ``local``."""
    variable: str = ""
    """The environment variable that names the directory, such as ``SCRATCH``."""
    shared: bool | None = None
    """Whether compute nodes see it too."""
    writable: bool | None = None


@dataclass(frozen=True)
class FoundEnvironment:
    """A Python of the site.

    Attributes
    ----------
    python : str
        Its interpreter.
    versions : dict of str to str
        Of the packages a session can use (``jupyterlab``, ``distributed``, ...), where it has them.
    modules : tuple of str
        What must be loaded first.
    """

    python: str
    version: str
    versions: dict[str, str]
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What a site told of itself."""

    host: str
    """The login node's own name."""
    user: str
    home: str
    taken_on: str
    """The day, as in ``2026-11-25``."""
    scheduler: str | None = None
    """``slurm``, ``pbs`` or ``lsf``."""
    dialect: str = ""
    """``torque`` where PBS is one."""
    release: str = ""
    """As the scheduler says it, such as ``slurm-wlm 22.05.8``."""
    prologue: tuple[str, ...] = ()
    """What must run before the scheduler's commands are found; empty where they just are."""
    cluster: str = ""
    """The scheduler's own name of the cluster or server."""
    queues: tuple[FoundQueue, ...] = ()
    accounts: tuple[str, ...] | None = None
    """Accounts that this user may charge."""
    default_account: str | None = None
    account_required: bool | None = None
    max_jobs: int | None = None
    """Most jobs of one user, over all queues."""
    max_array: int | None = None
    interfaces: tuple[FoundInterface, ...] = ()
    filesystems: tuple[FoundFilesystem, ...] = ()
    module_system: str | None = None
    """``lmod``, ``environment modules``, or empty where there is none."""
    modules: tuple[str, ...] = ()
    """Modules whose names look like a Python's."""
    forwarding: bool | None = None
    """Whether the login node's sshd forwards ports."""
    node_ssh: bool | None = None
    """Whether the user may ssh to compute nodes."""
    environments: tuple[FoundEnvironment, ...] = ()
    memory_unit: str | None = None
    """LSF's ``LSF_UNIT_FOR_LIMITS``."""
    memory_per: str | None = None
    """LSF: whether memory is reserved for each ``task`` or each ``host``."""
    notes: tuple[str, ...] = ()
    """What could not be told, and why, for people."""

    @property
    def default_queue(self) -> str | None:
        """The queue of jobs that name none."""
        return next((queue.name for queue in self.queues if queue.default), None)
