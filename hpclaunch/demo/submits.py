"""What all submit commands do with a script: be slow, refuse, take it, answer or not."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpclaunch.demo.spool import Job, Spool

__all__ = ["Command", "fail", "hang", "refused", "take"]

Command = Callable[[Spool, Sequence[str]], int]
"""A command of a scheduler: gets its arguments, returns its exit code."""


def fail(words: str, code: int) -> int:
    """Say `words` on stderr; returns `code`."""
    print(words, file=sys.stderr)
    return code


def hang() -> None:
    """Wait for a master that is down, as all commands of LSF do: for ever."""
    while True:
        print("batch system daemon not responding ... still trying", file=sys.stderr, flush=True)
        time.sleep(10)


def refused(spool: Spool) -> str | None:
    """Take the time that a submit takes; the words of a refusal, None where there is none."""
    time.sleep(spool.seconds("delay"))
    return spool.mode("refuse") or None


def take(
    spool: Spool,
    ids: Sequence[tuple[str, Sequence[int]]],
    name: str,
    script: str,
    arguments: Sequence[str],
    options: Mapping[str, Any],
    start: Callable[[Spool, Job], None],
    answer: str,
) -> int:
    """Take a job for each of `ids`, start them where nothing holds them, and say `answer`."""
    more = {mode: how for mode in ("die", "end_in") if (how := spool.mode(mode)) is not None}
    for one, order in ids:
        job = Job(
            id=one,
            order=list(order),
            name=name,
            script=script,
            cwd=os.getcwd(),  # noqa: PTH109  (a text, as it goes into the environment)
            argv=list(arguments),
            environment=dict(os.environ),
            options={**options, **more},
            submitted=time.time(),
        )
        spool.add(job)
        if spool.mode("hold") is None and not options.get("held"):
            start(spool, job)
    if spool.mode("mute") is None:
        sys.stdout.write(f"{spool.mode('chatter') or ''}{answer}\n")
    return 0
