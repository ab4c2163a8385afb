"""`hpclaunch start` and `hpclaunch attach`: from arguments to an open notebook."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import time
from types import FrameType
from typing import Any

from hpclaunch.cli.ask import asker
from hpclaunch.cli.ready import stay
from hpclaunch.cli.tell import Progress, tell
from hpclaunch.errors import (
    HpclaunchError,
    SchedulerError,
    SessionExists,
    SessionFailed,
    SubmitError,
    UsageError,
)
from hpclaunch.keeper.client import KeeperClient
from hpclaunch.plan import Plan, make_plan
from hpclaunch.request import Program, Request
from hpclaunch.sessions import access
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.follow import follow, outcome_error
from hpclaunch.sessions.record import Record
from hpclaunch.sessions.start import prepare, put_on_record, submit
from hpclaunch.sessions.way import Way
from hpclaunch.sessions.withdraw import withdraw
from hpclaunch.sites.catalog import LoadedSite, default_site, load
from hpclaunch.units import Memory, Walltime

__all__ = [
    "attach",
    "dry_run",
    "interrupt_on_term",
    "launch",
    "pausing",
    "plan_and_record",
    "request_of",
    "start",
    "timeout_of",
    "withdrawn_on_failure",
]


def start(arguments: argparse.Namespace) -> int:
    """Plan, submit, wait, tunnel, open the browser."""
    began = time.monotonic()
    timeout = timeout_of(arguments)
    loaded = load(default_site() if arguments.site is None else arguments.site, arguments.settings)
    request = request_of(arguments)
    book = Book()
    if arguments.dry_run:
        name = book.free_name(loaded.site.name) if arguments.name is None else arguments.name
        return dry_run(loaded, request, name, as_json=arguments.json)
    way = Way.of(loaded)
    interrupt_on_term()
    plan, record = plan_and_record(book, loaded, request, way, arguments.name)
    with contextlib.ExitStack() as stack:
        with Progress() as progress, withdrawn_on_failure(book, record, way, progress):
            for warning in plan.warnings:
                tell(f"warning: {warning}")
            keeper = stack.enter_context(KeeperClient(way))
            record = launch(keeper, book, loaded, plan, progress)
            record = follow(keeper, book, record, progress, timeout=timeout, since=began)
        return stay(keeper, book, record, arguments)


def attach(arguments: argparse.Namespace) -> int:
    """Open the tunnel and the browser of a session on record."""
    began = time.monotonic()
    timeout = timeout_of(arguments)
    book = Book()
    record = book.read(arguments.name)
    if record.batch is not None:
        raise UsageError(
            f"{record.name} is a batch job: there is no JupyterLab to open",
            hint=f"`hpclaunch logs -f {record.name}` shows its output as it comes",
        )
    if record.outcome is not None:
        raise outcome_error(record)
    if record.submitting is None:
        raise SessionFailed(
            f"session {record.name} was never submitted",
            hint=f"`hpclaunch stop {record.name}` takes it off the record",
        )
    if record.stopping:
        raise SessionFailed(
            f"session {record.name} is being stopped",
            hint=f"`hpclaunch stop {record.name}` brings that to its end",
        )
    interrupt_on_term()
    way = Way.from_dict(record.target)
    with KeeperClient(way) as keeper:
        with Progress() as progress:
            progress(f"connecting to {way}")
            keeper.connect(pausing(progress))
            keeper.adopt(record.name)
            keeper.status()  # a keeper that is new knows the session from here on
            record = follow(keeper, book, record, progress, timeout=timeout, since=began)
        return stay(keeper, book, record, arguments)


def timeout_of(arguments: argparse.Namespace) -> float | None:
    """Seconds of ``--timeout``, None where there is none."""
    timeout: float | None = arguments.timeout
    if timeout is not None and not timeout > 0:
        raise UsageError(f"--timeout {timeout:g}: must be a positive number of seconds")
    return timeout


def request_of(arguments: argparse.Namespace, program: Program | None = None) -> Request:
    """What the arguments ask for, of a session or of a batch job that runs `program`."""

    def positive(name: str) -> int | None:
        value: int | None = getattr(arguments, name)
        if value is not None and value < (0 if name in ("gpus", "workers") else 1):
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be a positive number")
        return value

    try:
        return Request(
            queue=arguments.queue,
            account=arguments.account,
            walltime=None if arguments.walltime is None else Walltime.parse(arguments.walltime),
            nodes=positive("nodes"),
            cores=positive("cores"),
            memory=None if arguments.memory is None else Memory.parse(arguments.memory),
            gpus=positive("gpus"),
            environment=arguments.environment,
            notebook_dir=arguments.notebook_dir,
            workers=positive("workers") if program is None else None,
            dask=arguments.dask if program is None else None,
            insecure_dask=arguments.insecure_dask,
            workers_per_node=positive("workers_per_node") if program else None,
            program=program,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def dry_run(loaded: LoadedSite, request: Request, name: str, *, as_json: bool) -> int:
    """Print the batch script as it would be submitted, paths as far as they are known here."""
    plan = make_plan(loaded, request, name=name, draft=True)
    for warning in plan.warnings:
        tell(f"warning: {warning}")
    if plan.queue_chosen:
        tell(f"note: no queue is named; {plan.queue} is the first that takes the job")
    script = _draft(loaded, plan)
    if plan.base.startswith("~"):
        tell("note: /home/USER stands for your home directory on the site")
    if as_json:
        print(json.dumps({"name": name, "site": plan.site, "script": script}))
    else:
        print(script, end="")
    return 0


def _draft(loaded: LoadedSite, plan: Plan) -> str:
    """The batch script, paths as far as they are known here."""
    from hpclaunch.bundle import bundle
    from hpclaunch.script import render_session

    base = plan.base.replace("~", "/home/USER", 1) if plan.base.startswith("~") else plan.base
    return render_session(
        plan,
        access.scheduler_for(loaded.site, base),
        session_dir=f"{base}/sessions/{plan.directory}",
        lib_dir=f"{base}/lib/{bundle().key}",
    )


def plan_and_record(
    book: Book, loaded: LoadedSite, request: Request, way: Way, name: str | None
) -> tuple[Plan, Record]:
    """Plan it under a name that is free, and put it on record."""
    for _ in range(20):
        free = book.free_name(loaded.site.name) if name is None else name
        plan = make_plan(loaded, request, name=free)
        if plan.template is not None:
            _draft(loaded, plan)  # what is wrong with it is said before anything begins
        try:
            return plan, put_on_record(book, loaded, request, plan, way)
        except SessionExists:
            if name is not None:
                raise
    raise SessionExists("no free session name was found", hint="choose one with --name")


def launch(
    keeper: KeeperClient,
    book: Book,
    loaded: LoadedSite,
    plan: Plan,
    progress: Progress,
) -> Record:
    """Connect and submit; the job may be in the queue without an id, to be found by its name."""
    progress(f"{'batch' if plan.batch else 'session'} {plan.name}: connecting to {keeper.way}")
    credentials = prepare()
    began = time.monotonic()
    keeper.connect(pausing(progress))
    connected = time.monotonic() - began
    book.update(plan.name, plan.nonce, timings={"connect": connected})
    progress(f"submitting to {plan.site} ({_summary(plan)})")
    try:
        return submit(keeper, book, loaded, plan, credentials, progress)
    except SubmitError:
        raise
    except SchedulerError as error:
        progress(f"{error}; looking for it by its name")
        return book.read(plan.name)


def _summary(plan: Plan) -> str:
    job = plan.job
    words = [f"{job.nodes} node{'s' if job.nodes > 1 else ''}", f"{job.cores} cores"]
    words += [str(job.memory)] if job.memory else []
    words += [f"walltime {job.walltime}"]
    why = ", the first that takes it" if plan.queue_chosen else ""
    words += [f"queue {plan.queue}{why}"] if plan.queue else []
    workers = plan.block.workers if plan.block else plan.dask.workers if plan.dask else 0
    words += [f"{workers} Dask workers"] if workers else []
    return ", ".join(words)


def pausing(progress: Progress) -> Any:
    """Ask on a terminal that the spinner has let go of."""
    ask = asker()
    if ask is not None:
        progress.pause()  # now, for ssh asks on the terminal itself
    return ask


@contextlib.contextmanager
def withdrawn_on_failure(
    book: Book,
    record: Record,
    way: Way,
    progress: Progress,
    failure: type[BaseException] = BaseException,
) -> Any:
    """A start that fails or is interrupted leaves no job, no secret, no file on the site."""
    try:
        yield
    except failure as error:
        progress.pause()
        with contextlib.ExitStack() as stack:

            def reach() -> KeeperClient:
                keeper = stack.enter_context(KeeperClient(way))
                keeper.connect(None)
                return keeper

            try:
                withdraw(reach, book, record, error, tell)
            except HpclaunchError as trouble:
                words = [f"warning: something may be left: {trouble.what}", *trouble.lines()[1:-1]]
                tell("\n".join(words))
                tell(f"`hpclaunch stop {record.name}` cancels and removes it")
        raise


def interrupt_on_term() -> None:
    """A polite kill is an interrupt: what was begun is withdrawn."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
