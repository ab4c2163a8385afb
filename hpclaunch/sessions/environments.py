"""What the Pythons of a profile's environments are, seen from the login node."""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from hpclaunch.errors import CommandTimeout
from hpclaunch.node import versions
from hpclaunch.remote import remote_command
from hpclaunch.sessions.access import Runner
from hpclaunch.sites.model import Environment, Site

__all__ = ["Interpreter", "look_at_environments"]

_PATIENCE = 90.0  # seconds; module systems on a busy login node take their time
_WORDS = 300  # characters of the site's words that are kept


@dataclass(frozen=True)
class Interpreter:
    """A Python of the site, or why there is none.

    Attributes
    ----------
    python, version : str
        Empty where there is none.
    packages : dict of str to str
        Versions by the packages' names.
    lack : str
        What went wrong, in the site's words; empty where nothing did.
    answered : bool
        Whether anything answered at all; without an answer nothing is known.
    """

    python: str = ""
    version: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    lack: str = ""
    answered: bool = True


def look_at_environments(runner: Runner, site: Site) -> dict[str, Interpreter]:
    """Ask the Python of each environment which packages it has; nothing is imported.

    Raises
    ------
    TransportError
        If the way to the site is broken.
    """
    local = site.scheduler.kind == "local"
    return {name: _look(runner, one, local) for name, one in site.environments.items()}


def _look(runner: Runner, environment: Environment, local: bool) -> Interpreter:
    python = environment.python or (sys.executable if local else "python3")
    modules = environment.modules
    numbers = (python, str(len(modules)), *modules, *environment.setup)
    command = remote_command("environment.sh", *numbers, shell="/bin/bash")
    try:
        said = runner.run(command, stdin=_code(), timeout=_PATIENCE)
    except CommandTimeout as silence:
        return Interpreter(lack=silence.what, answered=False)
    if said.exit != 0:
        lines = said.said.splitlines()
        return Interpreter(lack=(lines[-1] if lines else f"exit code {said.exit}")[-_WORDS:])
    try:
        found = json.loads(said.stdout)
        return Interpreter(found["python"], found["version"], dict(found["packages"]))
    except (ValueError, KeyError, TypeError):
        return Interpreter(lack=f"its answer is not ours: {said.stdout[:_WORDS]!r}")


@functools.cache
def _code() -> bytes:
    return Path(versions.__file__).read_bytes()
