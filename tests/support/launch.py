"""Run the command line as a user does: a process of its own, a home of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpclaunch.sessions.kernel import Kernel


@dataclass(frozen=True)
class Laptop:
    """A user's laptop: the command, where its files lie, and what its shell exports besides."""

    home: Path
    exports: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the laptop's shell exports; no display, so no browser by accident."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("HPCLAUNCH_", "DASK_", "JUPYTER_", "SSH_AUTH_SOCK", "BROWSER"))
            and key not in ("DISPLAY", "WAYLAND_DISPLAY")
        }
        return {**inherited, "HPCLAUNCH_HOME": str(self.home), **self.exports}

    def argv(self, *arguments: str) -> list[str]:
        """The command as an argv."""
        return [sys.executable, "-m", "hpclaunch", *arguments]

    def run(
        self, *arguments: str, timeout: float = 180, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.argv(*arguments),
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def spawn(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command and leave it running."""
        defaults: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        return subprocess.Popen(
            self.argv(*arguments), env=self.environment, **{**defaults, **options}
        )

    def json(self, *arguments: str, timeout: float = 180) -> Any:
        """Run a command that must succeed and print one JSON document on stdout."""
        done = self.run(*arguments, timeout=timeout)
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def start(self, site: str, *options: str, timeout: float = 240) -> dict[str, Any]:
        """Start a detached session and return what `start --json` printed."""
        document: dict[str, Any] = self.json(
            "start", site, "--json", "--detach", "--no-browser", *options, timeout=timeout
        )
        return document

    def sessions(self) -> dict[str, dict[str, Any]]:
        """`list --json` by name."""
        return {one["name"]: one for one in self.json("list", "--json")}

    def leave(self) -> None:
        """Stop whatever lives at the end of a test; most tests leave nothing."""
        records = self.home.glob("state/sessions/*/record.json")
        if processes_with(str(self.home)) or not all(map(_is_over, records)):
            self.run("stop", "--all")

    def keepers(self) -> list[int]:
        """Process numbers of this laptop's keepers."""
        return processes_with(str(self.home), "hpclaunch.keeper")


def _is_over(record: Path) -> bool:
    """Whether a session's record says how it ended."""
    try:
        return json.loads(record.read_bytes())["outcome"] is not None
    except (OSError, ValueError, KeyError):
        return False


def kernel(document: dict[str, Any], **options: Any) -> Kernel:
    """A kernel of a started session, through its tunnel."""
    return Kernel(document["url"].split("/lab")[0], document["token"], **options)


def processes_with(*words: str) -> list[int]:
    """Live processes whose argv and environment together hold all `words`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
            except OSError:
                continue
            if all(word.encode() in text for word in words):
                found.append(int(entry.name))
    return found


def signal_each(numbers: Iterable[int], what: signal.Signals) -> None:
    """Send `what` to those of the processes `numbers` that have not ended meanwhile."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, what)


def eventually(check: Any, *, timeout: float = 20.0, what: str = "") -> Any:
    """Wait until `check()` is true and return what it gave.

    Raises
    ------
    AssertionError
        If it stays false.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or check}: {value!r}")
        time.sleep(0.1)


def lines(text: str) -> Sequence[str]:
    """Non-empty lines."""
    return [line for line in text.splitlines() if line.strip()]
