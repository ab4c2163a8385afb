"""`hpclaunch demo`: a make-believe site for courses, docs and first tries, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from hpclaunch.cli.tell import tell
from hpclaunch.demo.machine import check_machine
from hpclaunch.errors import HpclaunchError, UsageError
from hpclaunch.keeper.client import KeeperClient
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.record import Record
from hpclaunch.sessions.way import Way
from hpclaunch.shell import join

if TYPE_CHECKING:
    from hpclaunch.demo.whole import DemoSite

__all__ = ["demo"]


def demo(arguments: argparse.Namespace) -> int:
    """Bring a make-believe site up, say how to use it, and take it down at the end."""
    check_machine()
    from hpclaunch.demo.modes import read_mode
    from hpclaunch.demo.whole import DemoSite

    try:
        modes = dict(read_mode(arguments.scheduler, text) for text in arguments.modes)
    except ValueError as error:
        raise UsageError(f"--mode: {error}") from None
    directory = Path(arguments.directory) if arguments.directory is not None else None
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        site = DemoSite(arguments.scheduler, directory, modes)
        try:
            _announce(site, as_json=arguments.json)
            threading.Event().wait()
        finally:
            _take_down(site)
    except KeyboardInterrupt:
        pass  # how it is meant to end
    return 0


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _announce(site: DemoSite, *, as_json: bool) -> None:
    from hpclaunch.demo.files import HOST
    from hpclaunch.demo.whole import NAMES

    if as_json:
        facts = {
            "scheduler": site.kind,
            "profile": str(site.profile),
            "directory": str(site.directory),
            "ssh_config": str(site.ssh_config),
            "host": HOST,
        }
        print(json.dumps(facts), flush=True)
    else:
        print(site.profile, flush=True)
    login = ["ssh", "-F", str(site.ssh_config), HOST]
    tell(f"a make-believe {NAMES[site.kind]} site is up; its jobs run as processes of this machine")
    tell("in another terminal:")
    tell(f"  {join(['hpclaunch', 'start', str(site.profile), '--workers', '2'])}")
    tell(f"  {join(login)}    # its login node: {' '.join(site.commands)}")
    tell(f"  {join([*login, 'misbehave'])}    # how it can misbehave")
    tell("Ctrl-C here takes it down with all its jobs")


def _take_down(site: DemoSite) -> None:
    """End this laptop's sessions there, then the site; a second Ctrl-C ends all at once."""
    try:
        tell("taking the site down")
        site.behave()
        _stop_sessions(site)
    except KeyboardInterrupt:
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        site.end()
        _close_records(site)
    tell("the site is gone, its jobs too")


def _stop_sessions(site: DemoSite) -> None:
    """Stop what is on record of the site, in good order.

    In a process of its own, which can be left at once: `stop` itself sees to it that what it could
    not end is watched again, and waits for that.
    """
    names = [record.name for record in _records(site)]
    if not names:
        return
    stop = [sys.executable, "-m", "hpclaunch", "stop", *names]
    with subprocess.Popen(stop, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            process.wait()
        except BaseException:
            process.kill()
            raise


def _close_records(site: DemoSite) -> None:
    """Have the records say that all is over, where there was no time or no way to stop it."""
    book = Book()
    for record in _records(site):
        way = Way.from_dict(record.target)
        with contextlib.suppress(HpclaunchError), KeeperClient(way, start=False) as keeper:
            keeper.release(record.name)  # where one runs
        over = {"state": "ended", "error": None, "reason": "its make-believe site was taken down"}
        with contextlib.suppress(HpclaunchError):  # another command was faster
            book.update(record.name, record.nonce, outcome=over, session_dir="", tunnel=False)
            book.forget_secrets(record.name, record.nonce)


def _records(site: DemoSite) -> list[Record]:
    """Of the site's sessions and batch jobs, those that are not over or have left something."""
    config = str(site.ssh_config)
    ours = [record for record in Book() if record.target.get("ssh_config") == config]
    return [record for record in ours if not record.is_over or record.session_dir]
