"""The story of `hpclaunch start`: plan, look, submit, follow until the server answers."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol

from hpclaunch.bundle import bundle
from hpclaunch.errors import HpclaunchError, SessionFailed, SubmitError
from hpclaunch.node.layout import Layout
from hpclaunch.plan import Plan
from hpclaunch.remote import remote_command
from hpclaunch.schedulers.base import Scheduler
from hpclaunch.script import render_session, session_files, tar_of, warm_up
from hpclaunch.sessions import access
from hpclaunch.sessions.record import Book, Record
from hpclaunch.sessions.way import Way
from hpclaunch.shell import Completed
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.tls import make_credentials
from hpclaunch.transports.base import Ask

__all__ = [
    "Keeper",
    "Tell",
    "follow",
    "outcome_error",
    "prepare",
    "progress",
    "put_on_record",
    "submit",
]

Tell = Callable[[str], None]
"""Tell the person one line of progress."""

_HEAD_START = 0.05  # seconds
_LOOK, _LAZY_LOOK = 0.05, 0.5  # seconds between two looks at the record, at first and at last
_LAZIER = 0.01  # of the time since the last news, until the next look
_ALIVE = 2.0  # seconds between two looks at the keeper
_TUNNEL_PATIENCE = 30.0  # seconds for a server that answers on its node, but not here
_NOT_TRIED = 75  # exit code of submit.sh where it came to no submit
_NO_ROOM = (
    "is the file system full, read-only or over its quota? make room there, or choose another "
    "place with --set paths.base=/another/directory"
)


class Keeper(access.Runner, Protocol):
    """What a story needs of the keeper."""

    def connect(self, ask: Ask | None) -> None:
        """Make sure of a live connection."""

    def adopt(self, name: str) -> None:
        """Watch a session."""

    def release(self, name: str) -> None:
        """Let go of a session."""

    def alive(self) -> None:
        """Make sure that a keeper is there; start another where it went away."""


@dataclass(frozen=True)
class _Ground:
    """What a first look at a site says."""

    base: str
    host: str
    has_lib: bool


def put_on_record(book: Book, loaded: LoadedSite, plan: Plan, way: Way) -> Record:
    """Write the session's record; nothing has touched the site yet.

    Raises
    ------
    SessionExists
        If a live session has that name.
    """
    record = Record(
        name=plan.name,
        nonce=plan.nonce,
        site=plan.site,
        profile=loaded.site.model_dump(mode="json"),
        target=way.to_dict(),
        created=time.time(),
        job_name=plan.job.name,
        worker_job_name=plan.worker_job_name,
        walltime=plan.job.walltime.seconds,
        scheduler=plan.scheduler,
        dask={"mode": plan.dask.mode, "workers": plan.dask.workers} if plan.dask else None,
    )
    book.create(record)
    return record


def prepare() -> Future[dict[str, bytes]]:
    """Begin to make the session's credentials, and to load what `submit` needs besides.

    A login takes its time, most of it elsewhere.

    Returns
    -------
    Future of dict of str to bytes
        See `make_credentials`. Private keys are never written on the laptop.
    """
    made: Future[dict[str, bytes]] = Future()

    def load() -> None:
        try:
            made.set_result(make_credentials())
        except BaseException as error:
            made.set_exception(error)
        with contextlib.suppress(Exception):  # `submit` meets it again, and tells
            warm_up()
            _ = bundle().key

    # Imports hold the interpreter; the processes of the login must be under way first.
    later = threading.Timer(_HEAD_START, load)
    later.daemon = True
    later.start()
    return made


def submit(
    keeper: Keeper,
    book: Book,
    loaded: LoadedSite,
    plan: Plan,
    credentials: Future[dict[str, bytes]],
    tell: Tell,
) -> Record:
    """Bring the session to the site and submit its job.

    From the moment before the submit command is sent the record says so, so that a job which was
    accepted while nobody listened is found again by its unique name.

    Raises
    ------
    SubmitError
        If the scheduler refused; the session is off the record then.
    HpclaunchError
        If the site could not be prepared.
    """
    began = time.monotonic()
    key = bundle().key
    ground = _look(keeper, plan, key)
    if not ground.has_lib:
        tell(f"bringing hpclaunch's own modules to {ground.host} (once per version)")
        _checked(
            keeper,
            remote_command("unpack.sh", ground.base, key),
            f"hpclaunch's own modules could not be put into {ground.base} on {plan.site}",
            stdin=bundle().archive,
        )
    lib_dir = f"{ground.base}/lib/{key}"
    session_dir = f"{ground.base}/sessions/{plan.directory}"
    scheduler = access.scheduler_for(loaded.site, ground.base)
    script = render_session(plan, scheduler, session_dir=session_dir, lib_dir=lib_dir)
    token, keys = secrets.token_urlsafe(32), credentials.result()
    book.keep_secrets(plan.name, plan.nonce, keys[Layout.CA], token)
    files = session_files(plan, script, keys, token)
    book.update(
        plan.name,
        plan.nonce,
        base=ground.base,
        lib_dir=lib_dir,
        session_dir=session_dir,
        submitting=time.time(),
    )
    keeper.adopt(plan.name)
    # Options on the command line beat what the user's environment says (SBATCH_ACCOUNT).
    job = replace(plan.job, log=f"{session_dir}/{Layout.LOG}")
    command = scheduler.submit_command(job)
    said = keeper.run(
        remote_command("submit.sh", ground.base, plan.directory, *command),
        stdin=tar_of(files),
        timeout=access.SUBMIT_TIMEOUT,
    )
    if said.exit == _NOT_TRIED:
        raise SubmitError(
            f"the directory of session {plan.name} could not be made on {plan.site}; "
            "nothing was submitted",
            said=said.said,
            hint=_NO_ROOM,
        )
    job_id = scheduler.parse_submit(Completed.of(command, said.exit, said.stdout, said.stderr))
    timings = {"submit": time.monotonic() - began}
    return book.update(plan.name, plan.nonce, job_id=job_id, timings=timings)


def follow(
    keeper: Keeper,
    book: Book,
    record: Record,
    tell: Tell,
    *,
    timeout: float | None = None,
    since: float | None = None,
) -> Record:
    """Wait until the session's server answers on the laptop, telling what happens meanwhile.

    Parameters
    ----------
    timeout : float, optional
        Seconds; waits for ever when left out.
    since : float, optional
        When they began to count, on the clock of ``time.monotonic``; by default now.

    Raises
    ------
    SessionFailed
        If the session is over, can never start, cannot be reached, or the time is up.
    """
    scheduler = access.scheduler_of(record)
    began = time.monotonic() if since is None else since
    deadline = None if timeout is None else began + timeout
    told, alive_at, trouble_since = "", time.monotonic(), None
    news_at = alive_at
    hopeless: float | None = None
    while True:
        record = book.read(record.name)
        if record.outcome is not None:
            raise outcome_error(record)
        if record.state == "ready":
            return record
        words = progress(record)
        now = time.monotonic()
        if words != told:
            tell(words)
            told, news_at = words, now
        hopeless = _refuse_the_hopeless(scheduler, record, hopeless)
        if record.rendezvous is not None and record.trouble is not None:
            trouble_since = trouble_since or now
            if now - trouble_since > _TUNNEL_PATIENCE:
                raise SessionFailed(
                    f"session {record.name} runs, but cannot be reached from here",
                    said=record.trouble,
                    hint=f"`hpclaunch attach {record.name}` tries again",
                )
        else:
            trouble_since = None
        if deadline is not None and now > deadline:
            raise SessionFailed(
                f"session {record.name} was not ready within {timeout:g} s; it is {words}",
                hint="give it longer with --timeout, or choose another queue",
            )
        if now - alive_at > _ALIVE:
            keeper.alive()
            alive_at = now
        time.sleep(min(max(_LOOK, (now - news_at) * _LAZIER), _LAZY_LOOK))


def _look(keeper: Keeper, plan: Plan, key: str) -> _Ground:
    said = _checked(
        keeper,
        remote_command("look.sh", plan.base, key),
        f"the first look at site {plan.site} failed",
    )
    facts = dict(line.partition("=")[::2] for line in said.splitlines() if "=" in line)
    return _Ground(facts["base"], facts["host"], facts["lib"] == "yes")


def _checked(keeper: Keeper, command: list[str], what: str, *, stdin: bytes = b"") -> str:
    said = keeper.run(command, stdin=stdin, timeout=120.0)
    if said.exit != 0:
        raise HpclaunchError(what, said=said.said, hint=_NO_ROOM)
    return said.stdout


def _refuse_the_hopeless(scheduler: Scheduler, record: Record, since: float | None) -> float | None:
    """A pending job that can never start is a failure, however patient the user is.

    The scheduler must say so twice: between two of its cycles a reason can be a passing one.
    Returns when it was first said, for the next call.
    """
    if record.job_id is None or record.job.get("state") not in ("queued", "held"):
        return None
    status = access.status_on_record(record)
    why = scheduler.never_starts(status)
    if not why:
        return None
    if since is not None and record.as_of > since:
        raise SessionFailed(
            f"job {record.job_id} was accepted by {record.site} and can never start: {why}",
            said=f"{status.word} ({status.reason})",
            hint="ask for less, or for another queue: --walltime --memory --cores --nodes --queue",
        )
    return record.as_of if since is None else since


def progress(record: Record) -> str:
    """Where a session stands, in one line."""
    job = f"job {record.job_id}" if record.job_id else "the job"
    if record.trouble is not None:
        return f"unreachable: {record.trouble}"
    if record.rendezvous is not None:
        return f"JupyterLab answers on {record.rendezvous.get('hostname')}; opening the tunnel"
    state = record.job.get("state")
    if record.job.get("silent"):
        return f"{job} was {state or 'submitted'}; the scheduler does not answer now"
    nodes = ", ".join(record.job.get("nodes") or ())
    if state in ("running", "suspended"):
        return f"{job} runs{f' on {nodes}' if nodes else ''}; JupyterLab is starting"
    if not state:
        return f"{job} is submitted" if record.job_id else "submitting"
    reason = record.job.get("reason")
    words = f"{job} is {state}" + (f" ({reason})" if reason and reason != "None" else "")
    start = record.job.get("expected_start")
    return words + (f", expected to start at {start.replace('T', ' ')}" if start else "")


def outcome_error(record: Record) -> HpclaunchError:
    """Why a session is over, as an error."""
    assert record.outcome is not None
    error = record.outcome.get("error")
    if error is None:
        return SessionFailed(f"session {record.name} has ended")
    return HpclaunchError.from_dict(error)
