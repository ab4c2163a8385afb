"""The story of `hpclaunch start` up to a submitted job: record, look, submit."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace

from hpclaunch.bundle import bundle
from hpclaunch.errors import HpclaunchError, SessionError, SubmitError
from hpclaunch.node.layout import Layout
from hpclaunch.plan import Plan
from hpclaunch.remote import remote_command
from hpclaunch.request import Request
from hpclaunch.script import render_session, session_files, tar_of, warm_up
from hpclaunch.sessions import access
from hpclaunch.sessions.again import recipe
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.follow import Keeper, Tell
from hpclaunch.sessions.orders import worker_facts
from hpclaunch.sessions.record import Record
from hpclaunch.sessions.way import Way
from hpclaunch.shell import Completed
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.tls import make_credentials

__all__ = ["first_look", "prepare", "put_on_record", "submit"]

_HEAD_START = 0.05  # seconds
_NOT_TRIED = 75  # exit code of submit.sh where it came to no submit
_NO_ROOM = (
    "is the file system full, read-only or over its quota? make room there, or choose another "
    "place with --set paths.base=/another/directory"
)


@dataclass(frozen=True)
class _Ground:
    """What a first look at a site says."""

    base: str
    host: str
    has_lib: bool


def put_on_record(book: Book, loaded: LoadedSite, request: Request, plan: Plan, way: Way) -> Record:
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
        dask=plan.dask._asdict() if plan.dask else None,
        workers=worker_facts(plan),
        batch=recipe(loaded, plan, request),
    )
    book.create(record)
    if plan.program is not None and plan.program.content is not None:
        book.keep_program(plan.name, plan.nonce, plan.program.content)
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
    # No daemon: a thread that Python tears out of cryptography's Rust aborts the whole process.
    later.daemon = False
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
    ground = _prepare_ground(keeper, plan, tell)
    lib_dir = f"{ground.base}/lib/{bundle().key}"
    session_dir = f"{ground.base}/sessions/{plan.directory}"
    scheduler = access.scheduler_for(loaded.site, ground.base)
    script = render_session(plan, scheduler, session_dir=session_dir, lib_dir=lib_dir)
    token, keys = secrets.token_urlsafe(32), credentials.result()
    book.keep_secrets(plan.name, plan.nonce, keys[Layout.CA], token)
    files = session_files(plan, script, keys, token)
    if (record := book.read(plan.name)).batch is not None:
        again = {**record.batch, "profile": record.profile}
        files[Layout.BATCH] = json.dumps(again, indent=1).encode()
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


def _prepare_ground(keeper: Keeper, plan: Plan, tell: Tell) -> _Ground:
    """Look where things lie, and bring hpclaunch's own modules where they are not there yet."""
    _check_program(keeper, plan)
    ground = _look(keeper, plan, bundle().key)
    if not ground.has_lib:
        tell(f"bringing hpclaunch's own modules to {ground.host} (once per version)")
        _checked(
            keeper,
            remote_command("unpack.sh", ground.base, bundle().key),
            f"hpclaunch's own modules could not be put into {ground.base} on {plan.site}",
            stdin=bundle().archive,
        )
    return ground


def _check_program(keeper: Keeper, plan: Plan) -> None:
    """Make sure that a script of the site is there: the job may begin in hours only."""
    if plan.program is None or plan.program.content is not None:
        return
    said = keeper.run(remote_command("readable.sh", plan.program.path))
    if said.exit != 0:
        raise SessionError(
            f"there is no script {plan.program.path} on {plan.site} that you may read",
            said=said.said,
            hint="give the path as the site's login node sees it; a script that is here on the "
            "laptop is sent along, by its path here",
        )


def first_look(keeper: Keeper, site: str, base: str, key: str) -> dict[str, str]:
    """What the login node of `site` says of itself and of `base`; see ``look.sh``.

    Raises
    ------
    HpclaunchError
        If it cannot.
    """
    command = remote_command("look.sh", base, key)
    said = _checked(keeper, command, f"the first look at site {site} failed")
    return dict(line.partition("=")[::2] for line in said.splitlines() if "=" in line)


def _look(keeper: Keeper, plan: Plan, key: str) -> _Ground:
    facts = first_look(keeper, plan.site, plan.base, key)
    return _Ground(facts["base"], facts["host"], facts["lib"] == "yes")


def _checked(keeper: Keeper, command: list[str], what: str, *, stdin: bytes = b"") -> str:
    said = keeper.run(command, stdin=stdin, timeout=120.0)
    if said.exit != 0:
        raise HpclaunchError(what, said=said.said, hint=_NO_ROOM)
    return said.stdout
