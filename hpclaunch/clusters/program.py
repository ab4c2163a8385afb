"""Run a script in this process as ``python SCRIPT ARG...`` would, and say how it ended."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

__all__ = ["run"]

_INTERRUPTED = 130


def run(path: str, arguments: Sequence[str]) -> int:
    """Run the script at `path` to its end and return the exit code that Python would give.

    ``sys.argv``, ``sys.path[0]``, ``__file__`` and ``__main__`` are as if Python ran it. What it
    raises is printed as Python prints it, without the frames that are ours.

    Parameters
    ----------
    path : str
        Absolute.
    arguments : sequence of str
        ``sys.argv[1:]``.
    """
    sys.argv[:] = [path, *arguments]
    sys.path.insert(0, str(Path(path).parent))
    try:
        runpy.run_path(path, run_name="__main__")
        code = 0
    except SystemExit as leaving:
        code = _exit_code(leaving.code)
    except (Exception, KeyboardInterrupt) as error:
        error.__traceback__ = _from(path, error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        code = _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code


def _exit_code(told: object) -> int:
    """What Python makes of the argument of `sys.exit`."""
    if told is None:
        return 0
    if isinstance(told, int):
        return told & 0xFF
    sys.stderr.write(f"{told}\n")
    return 1


def _from(path: str, trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins in the script."""
    while trace is not None and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    return trace
