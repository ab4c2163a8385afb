"""`hpclaunch data rechunk`: a file written anew with other chunks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hpclaunch.cli.data import check_installed
from hpclaunch.cli.tell import Progress
from hpclaunch.errors import StorageError, UsageError
from hpclaunch.units import Memory

if TYPE_CHECKING:
    from hpclaunch.storage.rechunking import Rechunked
    from hpclaunch.storage.striping import Wanted

__all__ = ["rechunk"]

_STEPS = 10


def rechunk(arguments: argparse.Namespace) -> int:
    """Write SRC to DST with other chunks."""
    chunks = _chunks(arguments.chunks)
    memory = _memory(arguments.memory)
    for name, least in (("workers", 1), ("level", 0)):
        given = getattr(arguments, name)
        if given is not None and given < least:
            raise UsageError(f"--{name} {given}: at least {least}")
    if (arguments.level or 0) > 9:
        raise UsageError(f"--level {arguments.level}: at most 9")
    stripes = _stripes(arguments.stripes)
    check_installed()
    from hpclaunch.storage.interrupts import interrupting
    from hpclaunch.storage.rechunking import MEMORY
    from hpclaunch.storage.rechunking import rechunk as write_anew

    with interrupting(), _bar() as bar:
        try:
            done = write_anew(
                arguments.source,
                arguments.target,
                access=arguments.access,
                chunks=chunks,
                level=arguments.level,
                memory=memory or MEMORY,
                workers=arguments.workers,
                overwrite=arguments.overwrite,
                stripes=stripes,
                progress=bar,
            )
        except OSError as error:
            raise StorageError(
                f"{error.filename or arguments.source}: {error.strerror or error}",
                hint="are these their names, and may you read and write there?",
            ) from error
        except (RuntimeError, ValueError) as error:  # of the NetCDF library, and of xarray
            raise StorageError(
                f"{arguments.source} cannot be written anew: {error}",
                hint="`hpclaunch data inspect` shows what is in it",
            ) from error
    asked = stripes not in ("auto", None)
    print(json.dumps(_fields(done)) if arguments.json else "\n".join(_lines(done, asked)))
    return 0


def _chunks(text: str | None) -> dict[str, int]:
    """Read ``time=-1,lat=20``."""
    found: dict[str, int] = {}
    for word in (text or "").split(","):
        name, _, number = word.partition("=")
        if not word.strip():
            continue
        try:
            length = int(number)
        except ValueError:
            length = 0
        if not name.strip() or (length < 1 and length != -1):
            raise UsageError(
                f"--chunks {word.strip()!r} is not DIM=N",
                hint="for example --chunks time=-1,lat=20",
            )
        found[name.strip()] = length
    return found


def _stripes(text: str) -> Wanted:
    """Read ``8,4M``, ``auto`` or ``none``."""
    from hpclaunch.storage.striping import checked_stripes

    if text == "auto":
        return "auto"
    if text == "none":
        return None
    count, _, size = text.partition(",")
    try:
        return checked_stripes((int(count), Memory.parse(size).bytes))
    except ValueError as error:
        raise UsageError(
            f"--stripes {text!r}: {error}", hint="for example --stripes 8,4M, or auto, or none"
        ) from error


def _memory(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        found = Memory.parse(text).bytes
    except ValueError as error:
        raise UsageError(f"--memory: {error}") from error
    if found < 1:
        raise UsageError(f"--memory {text}: more than 0 bytes")
    return found


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, a line every ten percent elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
        with Bar(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=None)
            yield lambda done, every: bar.update(task, completed=done, total=every)
        return
    last = 0
    with Progress() as progress:

        def step(done: int, every: int) -> None:
            nonlocal last
            if (now := done * _STEPS // every) != last:
                last = now
                progress(f"{now * 100 // _STEPS} % of {every / 2**20:.0f} MiB")

        yield step


def _fields(done: Rechunked) -> dict[str, Any]:
    return {
        "path": str(done.path),
        "chunks": done.chunks,
        "bytes": done.nbytes,
        "stored": done.stored,
        "stripes": {
            "set": done.striping.given
            and {"count": done.striping.given.count, "size": done.striping.given.size},
            "reason": done.striping.reason,
        },
        "variables": [
            {
                "path": one.path,
                "before": one.before and list(one.before),
                "after": list(one.after),
                "reads": one.reads,
                "spilled": one.spilled,
            }
            for one in done.variables
        ],
    }


def _lines(done: Rechunked, asked: bool) -> Iterator[str]:
    for one in done.variables:
        before = "contiguous" if one.before is None else " x ".join(map(str, one.before))
        yield f"{one.path}: {before} -> {' x '.join(map(str, one.after))}"
    yield (
        f"{done.path}: {done.chunks} chunks, {done.nbytes / 2**20:.1f} MiB stored in "
        f"{done.stored / 2**20:.1f} MiB"
        if done.variables
        else f"{done.path}: copied; no variable is large enough for other chunks"
    )
    if asked or done.striping.kind == "lustre":
        yield f"stripes: {done.striping}"
