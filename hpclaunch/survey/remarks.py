"""What people are told of a survey: what to look at, and what else was found. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from hpclaunch.survey.findings import FoundEnvironment, FoundNodes, FoundQueue, Survey

__all__ = ["env_words", "found_lines", "kind_words", "remarks", "wrapped"]

_NEEDED = {
    "jupyterlab": "every session needs",
    "distributed": "sessions with Dask workers need",
    "dask-jobqueue": "Dask workers as jobs of their own need",
    "jupyter-server-proxy": "Dask's dashboard needs",
}


def remarks(
    survey: Survey,
    queue: FoundQueue | None,
    environment: FoundEnvironment | None,
    account: str | None,
) -> Iterator[str]:
    """What may keep a session from starting, or is not as one may think."""
    if queue is None:
        yield "no queue was found that is open and takes your jobs"
    elif queue.allowed is None:
        yield f"whether queue {queue.name} takes your jobs could not be told"
    yield from _of_environment(environment)
    if survey.account_required and account is None:
        yield (
            'every job must name an account: put account = "NAME" into your user.toml, or give '
            f"--account (yours: {', '.join(survey.accounts or ()) or 'not known'})"
        )
    home = next((one for one in survey.filesystems if one.variable == "HOME"), None)
    if home is not None and home.writable is False:
        yield f"{home.path} cannot be written: choose another paths.base"
    if survey.forwarding is False:
        yield (
            "this login node's sshd does not forward ports (AllowTcpForwarding): sessions cannot "
            "be reached through it; is there another one?"
        )
    yield from survey.notes


def _of_environment(environment: FoundEnvironment | None) -> Iterator[str]:
    if environment is None:
        yield (
            "no Python with JupyterLab was found: name yours in [environments.default], or run "
            "`site init` again with --environment PYTHON"
        )
    elif not environment.version:
        yield f"{environment.python} was not looked at, or does not run on the login node"
    else:
        for name, use in _NEEDED.items():
            if name not in environment.versions:
                yield f"{environment.python} has no {name}, which {use}"


def kind_words(kind: FoundNodes) -> str:
    """One kind of nodes in a line."""
    memory = f", {kind.memory}" if kind.memory else ""
    gpus = f", {kind.gpus} GPUs" if kind.gpus else ""
    features = f" ({', '.join(kind.features)})" if kind.features else ""
    nodes = "node" if kind.count == 1 else "nodes"
    return f"{kind.count} {nodes} of {kind.cores} cores{memory}{gpus}{features}"


def env_words(one: FoundEnvironment) -> list[str]:
    """An environment in a line or two."""
    has = ", ".join(f"{name} {version}" for name, version in one.versions.items())
    if not one.version:
        return ["Not looked at, or it does not run on the login node."]
    return wrapped(f"Python {one.version}" + (f" with {has}" if has else ""))


def found_lines(survey: Survey) -> Iterator[str]:
    """What was found and no key needs, for those who go on from here."""
    closed = [one.name for one in survey.queues if not one.open]
    refused = [one.name for one in survey.queues if one.open and one.allowed is False]
    if closed:
        yield from wrapped(f"Queues that run no jobs now: {', '.join(closed)}")
    if refused:
        yield from wrapped(f"Queues that do not take your jobs: {', '.join(refused)}")
    shown = [one for one in survey.interfaces if one.kind != "loopback"]
    if shown:
        words = (f"{one.name} {one.address}{f' ({one.kind})' if one.kind else ''}" for one in shown)
        yield from wrapped(f"Interfaces of the login node: {', '.join(words)}")
        yield "Where workers need one in particular: network.interface."
    for place in survey.filesystems:
        where = f"${place.variable} = {place.path}"
        seen = "" if place.shared else "; whether compute nodes see it could not be told"
        yield f"{where}: {place.kind}{seen}"
    if survey.module_system:
        yield f"Module system: {survey.module_system}"
    if survey.modules:
        yield from wrapped(f"Modules with a Python, perhaps: {', '.join(survey.modules[:30])}")
    if survey.node_ssh:
        yield "ssh to compute nodes seems to be allowed (HostbasedAuthentication)."


def wrapped(text: str) -> list[str]:
    """Lines that fit behind a ``#``."""
    return textwrap.wrap(
        text, 96, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
