"""What the Pythons of a profile's environments are, seen from the login node."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path

from hpclaunch.activation import Activation, activation_of, in_worker_job, interpreter_of
from hpclaunch.errors import CommandTimeout
from hpclaunch.node import versions
from hpclaunch.node.container import inside
from hpclaunch.personal import Personal
from hpclaunch.remote import remote_command
from hpclaunch.sessions.access import Runner
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.sites.model import Environment

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


def look_at_environments(
    runner: Runner, loaded: LoadedSite, account: str | None = None
) -> dict[str, Interpreter]:
    """Ask the Python of each environment which packages it has; nothing is imported.

    Parameters
    ----------
    runner : Runner
        Of the login node.
    loaded : LoadedSite
    account : str, optional
        The account to charge, where paths of an environment hold ``{account}``.

    Raises
    ------
    TransportError
        If the way to the site is broken.
    """
    personal = Personal(loaded, account)
    local = loaded.site.scheduler.kind == "local"
    found = {}
    for name, one in loaded.site.environments.items():
        fill = functools.partial(_filled, personal, name)
        found[name] = _look(runner, one, activation_of(one, fill), local)
    return found


def _filled(personal: Personal, name: str, text: str, *key: str) -> str:
    return personal.fill(text, "environments", name, *key)


def _look(runner: Runner, environment: Environment, active: Activation, local: bool) -> Interpreter:
    python = interpreter_of(environment, active, local=local)
    before = inside(active.container, ()) if active.container else ""
    lines = [*in_worker_job(active.steps), *environment.setup]
    modules = environment.modules
    words = (before, python, str(len(modules)), *modules, *lines)
    command = remote_command("environment.sh", *words, shell="/bin/bash")
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
