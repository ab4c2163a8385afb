"""Run the scripts of templates/remote as a login node does."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hpclaunch.remote import remote_command
from hpclaunch.script import tar_of

SHELLS = ("dash", "bash")
"""What /bin/sh is on Debian and on Red Hat."""

FILES: Mapping[str, bytes] = {
    "job.sh": b"#!/bin/bash\necho job\n",
    "token": b"t",
    "tls/ca.pem": b"c",
}
"""A small session."""


def command(shell: str, name: str, *arguments: str | Path) -> list[str]:
    """The argv of a remote script, under a certain shell."""
    _, *rest = remote_command(name, *map(str, arguments))
    return [shell, *rest]


def run(
    shell: str, name: str, *arguments: str | Path, stdin: bytes = b"", **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a remote script to its end."""
    return subprocess.run(
        command(shell, name, *arguments),
        input=stdin,
        capture_output=True,
        timeout=60,
        env={"PATH": os.defpath, "HOME": "/nonexistent", **variables},
    )


def submit(
    shell: str, base: Path | str, name: str, *words: str, stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run submit.sh with a small session."""
    return run(
        shell, "submit.sh", base, name, *words, stdin=tar_of(FILES) if stdin is None else stdin
    )


def wait_for(check: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


def tree(folder: Path) -> dict[str, int]:
    """Everything below a folder, with its permissions."""
    return {
        str(path.relative_to(folder)): path.lstat().st_mode & 0o777
        for path in sorted(folder.rglob("*"))
    }
