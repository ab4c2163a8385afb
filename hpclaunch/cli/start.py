"""`hpclaunch start` and `hpclaunch attach`: from arguments to an open notebook."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from types import FrameType
from typing import Any

from hpclaunch.cli.ask import asker
from hpclaunch.cli.sessions import idle_limit
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
from hpclaunch.plan import Plan, Request, make_plan
from hpclaunch.sessions import access
from hpclaunch.sessions.record import Book, Record
from hpclaunch.sessions.start import follow, outcome_error, prepare, put_on_record, submit
from hpclaunch.sessions.way import Way
from hpclaunch.sessions.withdraw import withdraw
from hpclaunch.sites.catalog import LoadedSite, default_site, load
from hpclaunch.units import Memory, Walltime

__all__ = ["attach", "start"]

_SLEPT = 5.0  # seconds between two looks that are meant to be half a second apart


def start(arguments: argparse.Namespace) -> int:
    """Plan, submit, wait, tunnel, open the browser."""
    began = time.monotonic()
    timeout = _timeout(arguments)
    loaded = load(default_site() if arguments.site is None else arguments.site, arguments.settings)
    request = _request(arguments)
    book = Book()
    if arguments.dry_run:
        name = book.free_name(loaded.site.name) if arguments.name is None else arguments.name
        return _dry_run(loaded, request, name, as_json=arguments.json)
    way = Way.of(loaded)
    _interrupt_on_term()
    plan, record = _put_on_record(book, loaded, request, way, arguments.name)
    with contextlib.ExitStack() as stack:
        with Progress() as progress, _withdrawn_unless_ready(book, record, way, progress):
            for warning in plan.warnings:
                tell(f"warning: {warning}")
            keeper = stack.enter_context(KeeperClient(way))
            record = _launch(keeper, book, loaded, plan, progress)
            record = follow(keeper, book, record, progress, timeout=timeout, since=began)
        return _ready(keeper, book, record, arguments)


def attach(arguments: argparse.Namespace) -> int:
    """Open the tunnel and the browser of a session on record."""
    began = time.monotonic()
    timeout = _timeout(arguments)
    book = Book()
    record = book.read(arguments.name)
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
    _interrupt_on_term()
    way = Way.from_dict(record.target)
    with KeeperClient(way) as keeper:
        with Progress() as progress:
            progress(f"connecting to {way}")
            keeper.connect(_pausing(progress))
            keeper.adopt(record.name)
            keeper.status()  # a keeper that is new knows the session from here on
            record = follow(keeper, book, record, progress, timeout=timeout, since=began)
        return _ready(keeper, book, record, arguments)


def _timeout(arguments: argparse.Namespace) -> float | None:
    timeout: float | None = arguments.timeout
    if timeout is not None and not timeout > 0:
        raise UsageError(f"--timeout {timeout:g}: must be a positive number of seconds")
    return timeout


def _request(arguments: argparse.Namespace) -> Request:
    def positive(name: str) -> int | None:
        value: int | None = getattr(arguments, name)
        if value is not None and value < (0 if name in ("gpus", "workers") else 1):
            raise UsageError(f"--{name} {value}: must be a positive number")
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
            workers=positive("workers"),
            dask=arguments.dask,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def _dry_run(loaded: LoadedSite, request: Request, name: str, *, as_json: bool) -> int:
    """Print the batch script as it would be submitted, paths as far as they are known here."""
    from hpclaunch.bundle import bundle
    from hpclaunch.script import render_session

    plan = make_plan(loaded, request, name=name)
    for warning in plan.warnings:
        tell(f"warning: {warning}")
    base = plan.base.replace("~", "/home/USER", 1) if plan.base.startswith("~") else plan.base
    if base != plan.base:
        tell("note: /home/USER stands for your home directory on the site")
    script = render_session(
        plan,
        access.scheduler_for(loaded.site, base),
        session_dir=f"{base}/sessions/{plan.directory}",
        lib_dir=f"{base}/lib/{bundle().key}",
    )
    if as_json:
        print(json.dumps({"name": name, "site": plan.site, "script": script}))
    else:
        print(script, end="")
    return 0


def _put_on_record(
    book: Book, loaded: LoadedSite, request: Request, way: Way, name: str | None
) -> tuple[Plan, Record]:
    for _ in range(20):
        free = book.free_name(loaded.site.name) if name is None else name
        plan = make_plan(loaded, request, name=free)
        try:
            return plan, put_on_record(book, loaded, plan, way)
        except SessionExists:
            if name is not None:
                raise
    raise SessionExists("no free session name was found", hint="choose one with --name")


def _launch(
    keeper: KeeperClient,
    book: Book,
    loaded: LoadedSite,
    plan: Plan,
    progress: Progress,
) -> Record:
    progress(f"session {plan.name}: connecting to {keeper.way}")
    credentials = prepare()
    began = time.monotonic()
    keeper.connect(_pausing(progress))
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
    words += [f"queue {job.queue}"] if job.queue else []
    words += [f"{plan.dask.workers} Dask workers"] if plan.dask else []
    return ", ".join(words)


def _pausing(progress: Progress) -> Any:
    """Ask on a terminal that the spinner has let go of."""
    ask = asker()
    if ask is not None:
        progress.pause()  # now, for ssh asks on the terminal itself
    return ask


@contextlib.contextmanager
def _withdrawn_unless_ready(book: Book, record: Record, way: Way, progress: Progress) -> Any:
    """A start that fails or is interrupted leaves no job, no secret, no file on the site."""
    try:
        yield
    except BaseException as error:
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


def _ready(keeper: KeeperClient, book: Book, record: Record, arguments: argparse.Namespace) -> int:
    """Tell where it is, open the browser, and stay until interrupted or over."""
    token = book.token(record.name)
    url = f"{record.url}/lab?token={token}"
    if arguments.json:
        print(json.dumps(ready_document(record, token)), flush=True)
    else:
        print(url, flush=True)
        tell(f"session {record.name} is ready; it ends at {_clock(record)}")
        for line in _dask_words(record):
            tell(line)
    if (limit := idle_limit(record)) is not None:
        tell(f"unused for {limit} it ends by itself, with its workers (session.idle_limit)")
    if not arguments.no_browser:
        from hpclaunch.cli.browser import open_browser

        open_browser(book.directory(record.name) / "open.html", url)
    if arguments.detach:
        return 0
    if sys.stderr.isatty():
        tell(f"Ctrl-C lets go of the terminal; `hpclaunch stop {record.name}` ends the session")
    try:
        return _stay(keeper, book, record)
    except KeyboardInterrupt:
        tell(f"session {record.name} lives on; `hpclaunch attach {record.name}` opens it again")
        return 130


def _dask_words(record: Record) -> list[str]:
    """What there is to say of the session's Dask cluster."""
    dask = (record.rendezvous or {}).get("dask")
    if not dask:
        return []
    lines = ["Dask: Client() in a notebook finds the session's cluster"]
    if dask.get("dashboard", True):
        lines = [f"Dask dashboard: {record.url}/dask/status (Client() in a notebook finds it)"]
    else:
        lines.append(
            "warning: no Dask dashboard: the environment's jupyter-server-proxy is "
            f"missing or too old (`hpclaunch logs {record.name}` says which)"
        )
    if dask.get("problem"):
        lines.append(f"warning: Dask workers were refused by the scheduler: {dask['problem']}")
    return lines


def _stay(keeper: KeeperClient, book: Book, record: Record) -> int:
    """Tell what happens to a ready session, until it is over."""
    told, outage, url = record.trouble, record.outage, record.url
    while True:
        seen = time.time()
        time.sleep(0.5)
        slept = time.time() - seen
        if slept > _SLEPT:
            tell(f"{record.name}: this laptop slept for {slept:.0f} s")
        keeper.alive()
        record = book.read(record.name)
        if record.outcome is not None:
            if record.outcome["error"] is not None:
                raise outcome_error(record)
            tell(f"session {record.name} has {record.outcome.get('reason') or 'ended'}")
            return 0
        if record.trouble is None and record.outage != outage and record.outage and not told:
            tell(f"{record.name}: unreachable for a moment: {record.outage['why']}")
            tell(f"{record.name}: reachable again")
        elif record.trouble != told:
            told = record.trouble
            words = f"unreachable: {told}" if told else "reachable again"
            tell(f"{record.name}: {words}")
        outage = record.outage
        if record.url != url:
            url = record.url
            tell(f"{record.name}: its port was taken; it is now at {url}/lab?token=…")
            tell(f"`hpclaunch attach {record.name}` opens it there")


def ready_document(record: Record, token: str) -> dict[str, Any]:
    """What `start --json` prints, as the contract says."""
    assert record.rendezvous is not None
    dask = record.rendezvous.get("dask")
    nodes = record.job.get("nodes") or [record.rendezvous.get("hostname")]
    return {
        "name": record.name,
        "site": record.site,
        "state": record.state,
        "url": f"{record.url}/lab?token={token}",
        "token": token,
        "job": {"id": record.job_id, "scheduler": record.scheduler, "node": nodes[0]},
        "dask": dask
        and {
            "mode": dask["mode"],
            "dashboard": f"{record.url}/dask/status" if dask.get("dashboard", True) else None,
            "scheduler": dask["scheduler"],
            "workers": dask["workers"],
            "problem": dask.get("problem"),
        },
        "ends_at": record.ends_at.isoformat() if record.ends_at else None,
        "timings": {
            key: round(seconds, 3) if (seconds := record.timings.get(key)) is not None else None
            for key in ("connect", "submit", "queue", "server", "tunnel")
        },
    }


def _clock(record: Record) -> str:
    ends = record.ends_at
    return ends.astimezone().strftime("%Y-%m-%d %H:%M") if ends else "no set time"


def _interrupt_on_term() -> None:
    """A polite kill is an interrupt: what was begun is withdrawn."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
