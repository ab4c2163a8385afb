"""Plan -> text: the batch script, and what the agent on the node reads. Pure.

Templates are files in ``templates/``; every value passes the filter ``quote``.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from hpclaunch.activation import in_worker_job
from hpclaunch.errors import PlanError
from hpclaunch.node.container import exports, inside
from hpclaunch.node.layout import Layout
from hpclaunch.plan import Plan
from hpclaunch.schedulers.base import Scheduler
from hpclaunch.shell import quote, site_word
from hpclaunch.templates import own_template, render, shipped_template

__all__ = [
    "agent_spec",
    "render_session",
    "render_worker",
    "session_files",
    "tar_of",
    "warm_up",
]


def render_session(plan: Plan, scheduler: Scheduler, *, session_dir: str, lib_dir: str) -> str:
    """Render the batch script of a session or a batch job.

    Parameters
    ----------
    plan : Plan
    scheduler : Scheduler
        Spells the directives.
    session_dir, lib_dir : str
        Absolute paths on the site: the session's directory, hpclaunch's own modules.

    Raises
    ------
    PlanError
        If a value cannot be said in a directive.
    """
    job = replace(plan.job, log=f"{session_dir}/{Layout.LOG}")
    try:
        directives, prologue = scheduler.directives(job), scheduler.prologue(job)
    except ValueError as error:
        raise PlanError(f"the job cannot be described to {plan.scheduler}: {error}") from None
    name = "session.sh.j2" if plan.batch is None else "batch.sh.j2"
    template = (
        shipped_template(name) if plan.template is None else own_template(plan.template, name)
    )
    places = [lib_dir, *([plan.root_dir] if plan.root_dir else [])]
    return render(
        template,
        plan=plan,
        python=site_word(plan.python),
        inside=plan.container and inside(plan.container, places, ['"$session"', '"$outside"']),
        exports=exports(["PYTHONPATH"]),
        before_modules=_before_modules(plan),
        directives=directives,
        prologue=prologue,
        exit_tells=scheduler.exit_tells,
        session_dir=session_dir,
        lib_dir=lib_dir,
    )


def render_worker(directives: Sequence[str], *, session_dir: str, number: int) -> str:
    """Render the batch script of worker jobs that the laptop submits for a session.

    All that the scheduler reads is the laptop's own. What the jobs run is known in the session
    only, and read on the node.

    Parameters
    ----------
    directives : sequence of str
        The lines that describe the job.
    session_dir : str
    number : int
        Of the session's order.
    """
    return render(
        shipped_template("worker.sh.j2"),
        directives=directives,
        session_dir=session_dir,
        number=number,
    )


def agent_spec(plan: Plan) -> dict[str, object]:
    """What the agent on the node shall do: the content of ``session.json``."""
    worker = _worker_spec(plan)
    return {
        "version": 1,
        "name": plan.name,
        "nonce": plan.nonce,
        "site": plan.site,
        "scheduler": plan.scheduler,
        "scheduler_options": list(plan.scheduler_options),
        "scheduler_quirks": dict(plan.scheduler_quirks),
        "root_dir": plan.root_dir,
        "ends_in": plan.job.walltime.seconds,
        "start_timeout": plan.start_timeout,
        "idle_limit": plan.idle_limit,
        "interface": plan.interface,
        "insecure_dask": plan.insecure,
        "dask": plan.dask and {**plan.dask._asdict(), **(worker if plan.block is None else {})},
        "jobqueue": worker if plan.worker and plan.worker.mode == "jobqueue" else None,
        "block": plan.block and asdict(plan.block),
        "batch": plan.batch and asdict(plan.batch),
        "container": plan.container and asdict(plan.container),
        "sights": plan.sights and asdict(plan.sights),
    }


def _worker_spec(plan: Plan) -> dict[str, object]:
    """How one Dask worker is started; empty where the profile says nothing about workers."""
    if plan.worker is None:
        return {}
    job = plan.worker.job
    return {
        "cores": job.cores // plan.worker.processes,
        "memory": job.memory.bytes // plan.worker.processes if job.memory else None,
        "processes": plan.worker.processes,
        "max_jobs": plan.worker.max_jobs,
        "walltime": job.walltime.seconds,
        "queue": job.queue,
        "account": job.account,
        "qos": job.qos,
        "memory_as": job.memory_as,
        "job_name": job.name,
        "extra_directives": list(job.extra),
        "setup": [
            *plan.prologue,
            *_before_modules(plan),
            *(f"module load {quote(module)}" for module in plan.modules),
            *in_worker_job(plan.steps),
            *plan.setup,
        ],
        "epilogue": list(plan.epilogue),
        "local_directory": plan.worker.local_directory,
        "submit": plan.worker.submit,
        "submit_host": plan.worker.submit_host,
        "submit_prologue": list(plan.worker.submit_prologue),
    }


def _before_modules(plan: Plan) -> tuple[str, ...]:
    """What makes ``module`` known where only login shells have it; nothing where it is not used."""
    used = plan.modules or any(line.startswith("module ") for line in plan.setup)
    return ("command -v module >/dev/null || . /etc/profile",) if used else ()


def session_files(
    plan: Plan, script: str, credentials: Mapping[str, bytes], token: str
) -> dict[str, bytes]:
    """All files that the laptop puts into a session's directory, by their path in it."""
    files = {
        **credentials,
        Layout.TOKEN: token.encode(),
        Layout.SPEC: json.dumps(agent_spec(plan), indent=1).encode(),
        Layout.SCRIPT: script.encode(),
    }
    if plan.batch is not None and plan.program is not None and plan.program.content is not None:
        files[plan.batch.program] = plan.program.content
    return files


def tar_of(files: Mapping[str, bytes], *, mode: int = 0o600) -> bytes:
    """Pack `files` as an uncompressed tar with plain permissions and no owner."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        folders: set[str] = set()
        for name, data in sorted(files.items()):
            folder = name.rpartition("/")[0]
            if folder and folder not in folders:
                folders.add(folder)
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, mode | 0o100 | (mode >> 2) & 0o11
                tar.addfile(entry)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def warm_up() -> None:
    """Load what rendering needs, while there is time for it."""
    shipped_template("session.sh.j2")
