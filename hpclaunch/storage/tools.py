"""Ask a file system's own tool, with a limit on how long it may take."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

from hpclaunch.shell import Completed

__all__ = ["PATIENCE", "ask"]

PATIENCE = 5.0
"""Seconds. A file system that hangs makes its tools hang."""

_WHERE = ("/usr/lpp/mmfs/bin", "/usr/sbin", "/sbin")
"""Where such tools lie, besides the PATH."""


def ask(argv: Sequence[str], *, patience: float = PATIENCE, umask: int = -1) -> Completed | None:
    """Run a tool and return what it said; None where it is not there or does not answer.

    One that cannot even be killed, because the kernel waits for the file system, is left behind.
    With `umask` it makes its files under that mask; by default under that of this process.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_WHERE))
    program = shutil.which(argv[0], path=path)
    if program is None:
        return None
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                [program, *argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "LC_ALL": "C"},
                umask=umask,
            )
        except OSError:
            return None
        try:
            code = process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            return None
        out.seek(0)
        err.seek(0)
        said = (out.read(2**20).decode(errors="replace"), err.read(2**16).decode(errors="replace"))
        return Completed.of(argv, code, *said)
