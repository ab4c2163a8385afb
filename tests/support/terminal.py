"""A person who types commands on a terminal and answers what is asked, once."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect

from tests.support.launch import Laptop

# Where a question ends: nothing follows until it is answered. The banner also speaks of passwords.
_QUESTION = re.compile(
    r"[^\r\n]*(?:'s password: |\) Password: |Verification code: |[Pp]assphrase [^\r\n]*: "
    r"|\(yes/no[^\r\n]*\? |Once more: )$"
)
_BLINK = 0.3  # seconds without news after which a person begins to type
_PATIENCE = 20.0  # seconds for all the parts of a question
Answer = tuple[str | tuple[str, ...], str]
_REDIRECT = 'out=$1; shift; exec "$@" >"$out"'


@dataclass(frozen=True)
class Heard:
    """What a command did on the terminal.

    Attributes
    ----------
    screen : str
        All that the terminal showed: stderr, prompts, the echo of answers. Not stdout.
    stdout : str
    exit : int
    """

    screen: str
    stdout: str
    exit: int

    def json(self) -> Any:
        """The one JSON document on stdout of a command that succeeded."""
        assert self.exit == 0, self.screen
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Person:
    """Somebody at `laptop`.

    Parameters
    ----------
    laptop : Laptop
    environment : dict, optional
        What this terminal's shell exports besides.
    """

    laptop: Laptop
    environment: dict[str, str] = field(default_factory=dict)

    def types(
        self,
        *arguments: str,
        answers: Sequence[Answer] = (),
        timeout: float = 300,
    ) -> Heard:
        """Run a command; give `answers`, pairs of a part of the question and the reply, in turn.

        Where several parts are named the person reads on until all of them stand there.

        Raises
        ------
        AssertionError
            If anything else is asked, more is asked, or less.
        """
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            out = Path(folder) / "stdout"
            child = pexpect.spawn(
                "/bin/sh",
                ["-c", _REDIRECT, "sh", str(out), *self.laptop.argv(*arguments)],
                env={**self.laptop.environment, "TERM": "xterm", **self.environment},
                encoding="utf-8",
                timeout=timeout,
                dimensions=(24, 160),
            )
            try:
                screen = _answer(child, list(answers))
                child.close()
                return Heard(screen, out.read_text(), _status(child))
            finally:
                child.close(force=True)


def _answer(child: Any, answers: list[Answer]) -> str:
    screen = ""
    while child.expect([_QUESTION, pexpect.EOF]) == 0:
        screen += child.before
        wanted, reply = answers.pop(0) if answers else ((), None)
        parts = (wanted,) if isinstance(wanted, str) else wanted
        question = _read_on(child, child.after, parts)
        screen += question
        assert reply is not None, f"asked once more: {question!r}\n{screen}"
        for part in parts:
            assert part in question, f"asked {question!r} instead of {part!r}\n{screen}"
        child.sendline(reply)
    screen += child.before
    assert not answers, f"never asked for {[expected for expected, _ in answers]}\n{screen}"
    return screen


def _read_on(child: Any, question: str, parts: tuple[str, ...]) -> str:
    """What follows at once belongs to the question, as a person sees it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        found = child.expect([r".+", pexpect.TIMEOUT, pexpect.EOF], timeout=_BLINK)
        if found == 0:
            question += child.before + child.after
        elif found == 2 or all(part in question for part in parts) or time.monotonic() > deadline:
            return question


def _status(child: Any) -> int:
    return int(child.exitstatus if child.exitstatus is not None else -child.signalstatus)
