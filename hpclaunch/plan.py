"""Site + Request -> Plan: every number decided before anything is touched. Pure.

A plan that does not fit the site is a `PlanError` that names the limit, the file it stands in and
the nearest possibility.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from hpclaunch import paths
from hpclaunch.activation import (
    Step,
    activation_of,
    check_container,
    environment_called,
    environment_name,
    interpreter_of,
)
from hpclaunch.block import block_job, has_block, plan_batch, plan_block
from hpclaunch.errors import PlanError, UsageError
from hpclaunch.limits import choose_queue, hold_against_limits, most_jobs, source_of
from hpclaunch.node.container import Container
from hpclaunch.node.sight import Sights
from hpclaunch.node.spec import Batch, Block
from hpclaunch.personal import Personal
from hpclaunch.request import Program, Request
from hpclaunch.schedulers.base import JobSpec
from hpclaunch.sites.catalog import LoadedSite, resolve_near
from hpclaunch.units import Memory

__all__ = ["INSECURE", "Cluster", "DaskPlan", "Plan", "Request", "make_plan"]

INSECURE = (
    "Dask speaks plain tcp (--insecure-dask): whoever reaches its ports on the site's network runs "
    "code as you"
)
"""The warning that goes with the option."""

_SESSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}")
_NONCE = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class DaskPlan:
    """The session's Dask workers; also without any, as defaults of a cluster the user makes.

    Attributes
    ----------
    mode : {"jobqueue", "local"}
        Workers as jobs of their own, or as processes of this machine.
    workers : int
        How many the session starts.
    job : JobSpec
        One worker job.
    processes : int
        Workers of one job.
    max_jobs : int or None
        Most worker jobs at one time, as far as the profile knows.
    local_directory : str or None
    submit : {"node", "ssh", "laptop"}
        Who submits worker jobs while the session runs.
    submit_host : str or None
        The login node, where a compute node submits by ssh.
    submit_prologue : tuple of str
        Lines of sh that run there first.
    """

    mode: Literal["jobqueue", "local"]
    workers: int
    job: JobSpec
    processes: int
    max_jobs: int | None
    local_directory: str | None
    submit: Literal["node", "ssh", "laptop"] = "node"
    submit_host: str | None = None
    submit_prologue: tuple[str, ...] = ()

    @property
    def jobs(self) -> int:
        """How many jobs make the workers that the session starts."""
        return -(-self.workers // self.processes)


class Cluster(NamedTuple):
    """The Dask cluster of a session: how its workers come to be, and how many."""

    mode: Literal["jobqueue", "local", "mpi"]
    workers: int


@dataclass(frozen=True)
class Plan:
    """A session or a batch job, fully decided.

    Attributes
    ----------
    name, nonce : str
        The session's name, and eight hex digits that make job name and directory unique.
    job : JobSpec
        The job that runs JupyterLab, or all ranks of a batch; its ``log`` is a name in the session
        directory.
    queue : str or None
        The job's queue as the profile calls it.
    python : str
    modules, setup : tuple of str
        The environment, as the job makes it.
    steps : tuple of Step
        What activates it, in between.
    container : Container or None
        In what everything runs.
    prologue, epilogue : tuple of str
        Lines of bash of every job, before everything else and after all has ended.
    template : str or None
        A file of the site's own on the laptop, which fills blocks of the script's template.
    base : str
        On the site; may begin with ``~/``.
    root_dir : str or None
        Root directory of JupyterLab, or where a batch runs; None for the home directory.
    start_timeout : int
        Seconds that JupyterLab may take on the node.
    idle_limit : int or None
        Seconds without use after which the session ends by itself; None never.
    interface : str or None
    scheduler_options : tuple of str
        What every command of the scheduler needs.
    insecure : bool
        Whether Dask's processes speak plain tcp to one another.
    scheduler_quirks : mapping
        What is special about the scheduler of this site; see `batch_scheduler`.
    worker : DaskPlan or None
        None where the profile says nothing about workers.
    program : Program or None
    batch : Batch or None
        What a batch job runs; None for a session.
    block : Block or None
        The ranks of a batch job, or of a session whose workers are ranks.
    warnings : tuple of str
        What could not be held against the profile.
    queue_chosen : bool
        Whether nobody named the queue: it is the first of the profile that takes the job.
    sights : Sights or None
        What the job measures of its node first, where the session is a check of the site.
    """

    name: str
    nonce: str
    site: str
    scheduler: str
    job: JobSpec
    queue: str | None
    python: str
    modules: tuple[str, ...]
    setup: tuple[str, ...]
    base: str
    root_dir: str | None
    start_timeout: int
    idle_limit: int | None
    interface: str | None
    scheduler_options: tuple[str, ...]
    insecure: bool
    worker: DaskPlan | None
    program: Program | None = None
    batch: Batch | None = None
    block: Block | None = None
    scheduler_quirks: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    queue_chosen: bool = False
    steps: tuple[Step, ...] = ()
    container: Container | None = None
    prologue: tuple[str, ...] = ()
    epilogue: tuple[str, ...] = ()
    template: str | None = None
    sights: Sights | None = None

    @property
    def dask(self) -> Cluster | None:
        """The session's Dask cluster, None where it has none."""
        if self.batch is None and self.block is not None:
            return Cluster("mpi", self.block.workers)
        if self.worker is None or not self.worker.workers:
            return None
        return Cluster(self.worker.mode, self.worker.workers)

    @property
    def directory(self) -> str:
        """Name of the session's directory below ``BASE/sessions``."""
        return f"{self.name}-{self.nonce}"

    @property
    def worker_job_name(self) -> str:
        """Name of all worker jobs, so that `stop` finds them without having seen their ids."""
        return f"{self.job.name}-w"


def make_plan(
    loaded: LoadedSite,
    request: Request,
    *,
    name: str,
    nonce: str | None = None,
    draft: bool = False,
) -> Plan:
    """Decide every number of a session, or of a batch job where the request names a program.

    Parameters
    ----------
    loaded : LoadedSite
    request : Request
    name : str
        The session's name, unique among the live ones.
    nonce : str, optional
        Eight hex digits; drawn when left out.
    draft : bool
        Whether it is only to be looked at: values that the profile needs and nobody has given
        stand there as ``<NAME>``, with a warning.

    Raises
    ------
    UsageError
        If the name is no session name.
    PlanError
        If the request does not fit the site.
    """
    nonce = secrets.token_hex(4) if nonce is None else nonce
    _check_names(name, nonce)
    site = loaded.site
    local = site.scheduler.kind == "local"
    named = environment_name(loaded, request)
    environment = environment_called(loaded, named)
    account, warnings = _account(loaded, request)
    make_job = block_job if has_block(request) else _session_job
    who = "the session" if request.program is None else "the batch job"
    job = make_job(loaded, request, f"hpclaunch-{name}-{nonce}", account)
    personal = Personal(loaded, account)
    extra = personal.fill_all(site.scheduler.directives, "scheduler", "directives")
    job = replace(job, extra=extra)
    chosen = choose_queue(loaded, job, who) if job.queue is None else None
    job = job if chosen is None else replace(job, queue=chosen.name)
    queue = job.queue
    batch, block = plan_batch(request), plan_block(loaded, request, job)
    workers = 0 if block else _workers(loaded, request)
    worker = _plan_worker(loaded, job, workers, personal)
    base, root_dir = _base(loaded, personal), _root_dir(loaded, request, personal)
    place = ("environments", named)
    active = activation_of(environment, lambda text, *key: personal.fill(text, *place, *key))
    if active.container is not None:
        check_container(loaded, active.container, block, (base, root_dir))
    warnings += personal.lacking(draft=draft)
    warnings += _warnings(loaded, job, worker if worker and worker.workers else None, who)
    if request.insecure_dask:
        warnings.append(INSECURE)
    return Plan(
        name=name,
        nonce=nonce,
        site=site.name,
        scheduler=site.scheduler.kind,
        job=_in_queue(loaded, job),
        queue=queue,
        python=interpreter_of(environment, active, local=local),
        modules=environment.modules,
        setup=environment.setup,
        base=base,
        root_dir=root_dir,
        start_timeout=site.session.start_timeout,
        idle_limit=limit.seconds if (limit := site.session.idle_limit) else None,
        interface=site.network.interface,
        scheduler_options=site.scheduler.options,
        insecure=request.insecure_dask,
        worker=worker and replace(worker, job=_in_queue(loaded, worker.job)),
        program=request.program,
        batch=batch,
        block=block,
        scheduler_quirks=site.scheduler.quirks,
        warnings=tuple(warnings),
        queue_chosen=chosen is not None,
        steps=active.steps,
        container=active.container,
        prologue=site.scheduler.prologue,
        epilogue=site.scheduler.epilogue,
        template=_template(loaded, request),
    )


def _check_names(name: str, nonce: str) -> None:
    if not _SESSION_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a session name",
            hint="use up to 41 letters, digits, '.', '_' and '-', beginning with a letter or digit",
        )
    if not _NONCE.fullmatch(nonce):
        raise ValueError(f"a nonce is eight hex digits, not {nonce!r}")


def _template(loaded: LoadedSite, request: Request) -> str | None:
    """The site's own template of this kind of job, on the laptop."""
    named = loaded.site.templates
    written = named.session if request.program is None else named.batch
    return None if written is None else str(resolve_near(loaded, written))


def _account(loaded: LoadedSite, request: Request) -> tuple[str | None, list[str]]:
    """The account to charge, and a warning where there is nobody who charges."""
    site = loaded.site
    account = request.account or site.account
    if account is None and site.scheduler.account_required:
        raise PlanError(
            f"site {site.name} charges every job to an account, and none is known "
            f"(account_required in {loaded.origin('scheduler', 'account_required')})",
            hint=f'give --account, or write it once: account = "…" in [{site.name}] of user.toml',
        )
    if account is not None and site.scheduler.kind == "local":
        return None, [f"this machine charges nobody; account {account!r} is not used"]
    return account, []


def _base(loaded: LoadedSite, personal: Personal) -> str:
    """Where sessions lie on the site."""
    written = loaded.site.paths.base
    if written is None:
        local = loaded.site.scheduler.kind == "local"
        return str(paths.data_dir()) if local else "~/.hpclaunch"
    base = personal.fill(written, "paths", "base")
    if ":" in base:
        raise PlanError(
            f"sessions cannot lie in {base}: PYTHONPATH would be cut at the colon "
            f"(base in {loaded.origin('paths', 'base')})",
            hint="give a value without a colon, or another place with --set paths.base=/…",
        )
    return base


def _root_dir(loaded: LoadedSite, request: Request, personal: Personal) -> str | None:
    """The root of JupyterLab; only where laptop and node are one may it be relative.

    A batch runs beside its script where that lies on the site.
    """
    asked, program = request.notebook_dir, request.program
    if asked is None and program is not None and program.content is None:
        return str(PurePosixPath(program.path).parent)
    if asked is None:
        place = loaded.site.paths.notebooks
        return place and personal.fill(place, "paths", "notebooks")
    if loaded.site.scheduler.kind == "local":
        return str(paths.expand(asked).absolute())
    if asked.startswith(("/", "~/")):
        return asked
    option = "--notebook-dir" if program is None else "--work-dir"
    raise UsageError(
        f"{option} {asked}: must be a directory on the site",
        hint="write an absolute path, or one that begins with '~/' (in quotes: it is the site's ~)",
    )


def _session_job(loaded: LoadedSite, request: Request, name: str, account: str | None) -> JobSpec:
    defaults, scheduler = loaded.site.session, loaded.site.scheduler
    return JobSpec(
        name=name,
        log="job.log",
        walltime=request.walltime or defaults.walltime,
        nodes=request.nodes or 1,
        cores=request.cores or defaults.cores,
        memory=request.memory or defaults.memory,
        gpus=defaults.gpus if request.gpus is None else request.gpus,
        queue=request.queue or defaults.queue or scheduler.default_queue,
        account=account,
    )


def _in_queue(loaded: LoadedSite, job: JobSpec) -> JobSpec:
    """The job as its queue wants to be asked."""
    queue = loaded.site.queue(job.queue)
    if queue is None:
        return job
    partition = queue.name if queue.partition is None else queue.partition or None
    return replace(job, queue=partition, qos=queue.qos, memory_as=queue.memory_as)


def _workers(loaded: LoadedSite, request: Request) -> int:
    """How many Dask workers the session starts."""
    if request.dask == "none":
        if request.workers:
            raise UsageError("--workers with --dask none asks for workers and for none")
        return 0
    workers = loaded.site.dask.workers if request.workers is None else request.workers
    if workers == 0 and request.dask is not None:
        raise UsageError(
            "--dask without workers", hint="say how many: --workers N, or set dask.workers"
        )
    if workers and loaded.site.dask.memory is None:
        raise PlanError(
            f"site {loaded.site.name} does not say how much memory a Dask worker gets",
            hint=f"give --set dask.memory='4 GB', or set memory in [dask] of {loaded.path}",
        )
    return workers


def _plan_worker(
    loaded: LoadedSite, job: JobSpec, workers: int, personal: Personal
) -> DaskPlan | None:
    site = loaded.site
    dask = site.dask
    if dask.memory is None:
        return None
    local = site.scheduler.kind == "local"
    processes = 1 if local else dask.processes
    queue = dask.queue or job.queue
    return DaskPlan(
        mode="local" if local else "jobqueue",
        workers=workers,
        job=replace(
            job,
            name=f"{job.name}-w",
            walltime=dask.walltime or job.walltime,
            nodes=1,
            cores=dask.cores * processes,
            memory=Memory(dask.memory.bytes * processes),
            gpus=0,
            queue=queue,
        ),
        processes=processes,
        max_jobs=most_jobs(loaded, queue, beside=job),
        local_directory=dask.local_directory
        and personal.fill(dask.local_directory, "dask", "local_directory", shell=True),
        submit=dask.submit,
        submit_host=_submit_host(loaded) if dask.submit == "ssh" else None,
        submit_prologue=site.login.prologue if dask.submit == "ssh" else (),
    )


def _submit_host(loaded: LoadedSite) -> str:
    """The login node as the compute nodes know it."""
    host = loaded.site.dask.submit_host or loaded.site.login.host
    if host is None:
        raise PlanError(
            f"site {loaded.site.name} submits worker jobs by ssh, and names no host for it "
            f"(dask.submit in {loaded.origin('dask', 'submit')})",
            hint="give --set dask.submit_host=HOST, the login node as compute nodes know it",
        )
    return host


def _warnings(loaded: LoadedSite, job: JobSpec, dask: DaskPlan | None, who: str) -> list[str]:
    """What could not be held against the profile; raises where a limit is passed."""
    found = [hold_against_limits(loaded, job, who, "--queue {}")]
    if dask is not None:
        option = "--set dask.queue={}"
        many = dask.processes > 1
        whose = f"a job of {dask.processes} Dask workers" if many else "a Dask worker"
        found.append(hold_against_limits(loaded, dask.job, whose, option))
        _check_number_of_jobs(loaded, dask)
    return list(dict.fromkeys(warning for warning in found if warning is not None))


def _check_number_of_jobs(loaded: LoadedSite, dask: DaskPlan) -> None:
    """Raise where more worker jobs are asked for than their queue takes of one user."""
    queue = loaded.site.queue(dask.job.queue)
    if queue is None or dask.max_jobs is None or dask.jobs <= dask.max_jobs:
        return
    raise PlanError(
        f"{dask.workers} Dask workers are {dask.jobs} jobs, where queue {queue.name!r} leaves "
        f"room for {dask.max_jobs} "
        f"(max_jobs = {queue.max_jobs} in {source_of(loaded, queue, 'max_jobs')})",
        hint=f"ask for {dask.max_jobs * dask.processes} workers or fewer; more workers in each "
        "job: --set dask.processes=N",
    )
