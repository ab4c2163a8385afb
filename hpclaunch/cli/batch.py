"""`hpclaunch batch`: from a script to its exit code."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path, PurePosixPath
from typing import Any

from hpclaunch.cli.start import (
    dry_run,
    interrupt_on_term,
    launch,
    plan_and_record,
    request_of,
    timeout_of,
    withdrawn_on_failure,
)
from hpclaunch.cli.tell import Progress, tell
from hpclaunch.errors import HpclaunchError, SessionFailed, UsageError
from hpclaunch.keeper.client import KeeperClient
from hpclaunch.node.spec import NOTEBOOK
from hpclaunch.request import Program, Request
from hpclaunch.sessions.access import read_file
from hpclaunch.sessions.again import again
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.follow import outcome_error
from hpclaunch.sessions.record import Record
from hpclaunch.sessions.wait import begin, output
from hpclaunch.sessions.way import Way
from hpclaunch.sites.catalog import LoadedSite, default_site, load

__all__ = ["batch"]


def batch(arguments: argparse.Namespace) -> int:
    """Plan, submit, and with ``--wait`` see it through to the script's exit code."""
    began = time.monotonic()
    timeout = timeout_of(arguments)
    book = Book()
    loaded, request, way = _wanted(book, arguments)
    if arguments.dry_run:
        name = book.free_name(loaded.site.name) if arguments.name is None else arguments.name
        return dry_run(loaded, request, name, as_json=arguments.json)
    interrupt_on_term()
    plan, record = plan_and_record(book, loaded, request, way, arguments.name)
    with contextlib.ExitStack() as stack, Progress() as progress:
        with withdrawn_on_failure(book, record, way, progress):
            for warning in plan.warnings:
                tell(f"warning: {warning}")
            keeper = stack.enter_context(KeeperClient(way))
            record = launch(keeper, book, loaded, plan, progress)
        if not arguments.wait:
            progress.pause()
            return _submitted(record, as_json=arguments.json)
        try:
            with withdrawn_on_failure(book, record, way, progress, SessionFailed):
                record = begin(keeper, book, record, progress, timeout=timeout, since=began)
            progress.pause()
            stream = sys.stderr if arguments.json else sys.stdout

            def show(text: str) -> None:
                stream.write(text)
                stream.flush()

            record = output(keeper, book, record, tell, show)
            _fetch(keeper, record)
        except KeyboardInterrupt:
            progress.pause()
            tell(
                f"batch {record.name} goes on; `hpclaunch logs -f {record.name}` shows its output, "
                f"`hpclaunch stop {record.name}` ends it"
            )
            return 130
    return _over(record, as_json=arguments.json)


def _wanted(book: Book, arguments: argparse.Namespace) -> tuple[LoadedSite, Request, Way]:
    """The site, what is asked of it, and the way there: new, or as recorded."""
    if arguments.again is not None:
        if arguments.script is not None:
            raise UsageError("--again runs a recorded script; name no other one beside it")
        record = book.read(arguments.again)
        return *again(book, record), Way.from_dict(record.target)
    if arguments.script is None:
        raise UsageError(
            "batch: name a script",
            hint="`hpclaunch batch [SITE] SCRIPT.py [ARG…]`, or --again NAME",
        )
    loaded = load(default_site() if arguments.site is None else arguments.site, arguments.settings)
    program = _program(loaded, arguments.script, tuple(arguments.arguments))
    return loaded, request_of(arguments, program), Way.of(loaded)


def _program(loaded: LoadedSite, script: str, arguments: tuple[str, ...]) -> Program:
    """A script of the laptop, which is sent along, or one of the site."""
    if script.endswith(NOTEBOOK) and arguments:
        raise UsageError(
            f"{script}: a notebook takes no arguments, as no cell would see them",
            hint="write them into its first cell, or set variables in the environment's setup",
        )
    here = Path(script)
    if here.is_file():
        path = str(here.absolute())
        on_site = loaded.site.scheduler.kind == "local"
        return Program(path, arguments, None if on_site else here.read_bytes())
    if script.startswith(("/", "~/")) and loaded.site.scheduler.kind != "local":
        return Program(script, arguments)
    raise UsageError(
        f"there is no file {script} here",
        hint="a script on the site is named by its absolute path there, or by one that begins with "
        "'~/' (in quotes: it is the site's ~)",
    )


def _fetch(keeper: KeeperClient, record: Record) -> None:
    """Bring what a notebook of the laptop has become beside it; it stays on the site too."""
    assert record.batch is not None
    if not record.batch["sent"]:
        return
    script = Path(record.batch["script"])
    for there in (record.outcome or {}).get("outputs", ()):
        name = PurePosixPath(str(there)).name
        if name not in {f"{script.stem}.out{NOTEBOOK}", f"{script.stem}.html"}:
            continue  # a site chooses no names on the laptop
        here = script.with_name(name)
        try:
            here.write_text(read_file(keeper, there, "from", 0)[1], encoding="utf-8", newline="")
            tell(f"saved {here}")
        except (OSError, HpclaunchError) as error:
            tell(f"warning: {there} is on the site, and could not be brought here: {error}")


def document(record: Record) -> dict[str, Any]:
    """What `batch --json` prints."""
    assert record.batch is not None
    error = (record.outcome or {}).get("error")
    nodes = list(record.job.get("nodes") or ())
    return {
        "name": record.name,
        "site": record.site,
        "state": record.state,
        "exit": record.exit_code,
        "reason": error["what"] if error else None,
        "job": {"id": record.job_id, "scheduler": record.scheduler, "nodes": nodes},
        "ranks": record.batch["ranks"],
        "directory": record.session_dir,
        "outputs": list((record.outcome or {}).get("outputs", ())),
    }


def _submitted(record: Record, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(document(record)))
    else:
        print(record.name)
    tell(
        f"`hpclaunch logs -f {record.name}` shows its output, `hpclaunch why {record.name}` where "
        "it stands"
    )
    return 0


def _over(record: Record, *, as_json: bool) -> int:
    """Tell how it ended: as its script did, or by an accident."""
    if as_json:
        print(json.dumps(document(record)))
    code, stopped = record.exit_code, (record.outcome or {}).get("error") is None
    if code == 0:
        tell(f"batch {record.name} has ended; `hpclaunch stop {record.name}` removes its files")
        return 0
    if code is None and stopped:
        tell(f"batch {record.name} was stopped")
        return 1
    error = outcome_error(record)
    if code is None:
        raise error
    error.log = None  # it has just been shown
    tell("\n".join(error.lines()))
    return code
