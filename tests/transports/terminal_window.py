"""A person at a terminal, for the tests of what is asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pexpect

__all__ = ["Terminal"]

DRIVER = Path(__file__).with_name("login_on_terminal.py")


class Terminal:
    """A person's terminal with the driver running in it."""

    def __init__(self, site) -> None:
        self.site = site
        command = [str(DRIVER), site.kind, str(site.config), str(site.control), "site"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SSH_")}
        self.child = pexpect.spawn(
            sys.executable, command, env=environment, encoding="utf-8", timeout=20, echo=True
        )
        site.transport()  # its close, after the test, ends what the driver leaves behind

    def see(self, *patterns: str) -> str:
        """Wait for the first of `patterns` and return all up to its end."""
        self.child.expect(list(patterns))
        return str(self.child.before) + str(self.child.after)

    def answer(self, text: str) -> None:
        self.child.sendline(text)

    def leave(self) -> None:
        self.child.sendline("bye")
        self.child.expect(pexpect.EOF)
        self.child.close()
