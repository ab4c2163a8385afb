"""Log in to HOST and run one command, as a command of hpclaunch would on a person's terminal.

Usage: login_on_terminal.py KIND CONFIG CONTROL_DIR HOST
"""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from hpclaunch.errors import HpclaunchError
from hpclaunch.transports.factory import make_transport
from hpclaunch.transports.target import Target


def ask(prompt: str, echo: bool) -> str:
    """Ask on the terminal."""
    return input(prompt) if echo else getpass.getpass(prompt)


def main(kind: str, config: str, control: str, host: str) -> int:
    """Print what the command said, or the error."""
    transport = make_transport(kind, Target(host, ssh_config=Path(config)), Path(control))
    try:
        transport.connect(ask)
        print("said:", transport.run(["echo", "I am in"]).stdout.strip(), flush=True)
        if sys.stdin.readline():  # the test looks around, then lets us go
            return 0
    except HpclaunchError as error:
        print(type(error).__name__, *error.lines(), sep="\n", flush=True)
        return 1
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
