"""What a profile says of compute nodes, and the way there, by what the one-minute job saw. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpclaunch.checks.line import Fix, Line, differs, holds, in_a_line, unknown
from hpclaunch.errors import SchedulerError, TransportError
from hpclaunch.node.sight import Directory, NodeFacts
from hpclaunch.sessions import access
from hpclaunch.sessions.probe import Probe
from hpclaunch.shell import Completed
from hpclaunch.sites.catalog import LoadedSite

__all__ = ["check_job", "check_node"]


def check_job(probe: Probe) -> Iterator[Line]:
    """Whether the whole way was walked, and how long its parts took."""
    if probe.ready:
        host = probe.facts.host if probe.facts else "its node"
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in probe.timings.items())
        yield holds("job", f"it ran on {host} and answered here ({parts})")
        yield _reach(probe)
    elif probe.waits:
        yield unknown("job", f"when the time was up, {probe.waits}")
    elif isinstance(probe.error, TransportError):
        yield unknown("job", f"the connection failed: {probe.error.what}")
    elif probe.error is not None:
        yield differs("job", ": ".join([probe.error.what, *_words(probe.error.said)]))
    if probe.untidy:
        yield unknown("job", probe.untidy)


def _reach(probe: Probe) -> Line:
    if probe.answer is None:
        return unknown("reach", "the tunnel stands, and the server gave no timed answer")
    login = probe.login_answer
    beside = "" if login is None else f"; a command on the login node takes {_ms(login)}"
    return holds("reach", f"the node answers through the tunnel in {_ms(probe.answer)}{beside}")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def _words(said: str | None) -> Sequence[str]:
    """The site's words in one line."""
    return [in_a_line(said)] if said else []


def check_node(loaded: LoadedSite, facts: NodeFacts | None, why: str) -> Iterator[Line]:
    """Interface, directories and the way of worker jobs.

    Parameters
    ----------
    facts : NodeFacts or None
    why : str
        Why there are none.
    """
    site = loaded.site
    claims = [
        *(["network.interface"] if site.network.interface else []),
        "paths.base",
        *(["paths.notebooks"] if site.paths.notebooks else []),
        *(["dask.local_directory"] if _has_local_directory(loaded) else []),
        *(["dask.submit"] if site.dask.memory and site.dask.submit != "laptop" else []),
    ]
    if site.scheduler.kind == "local":
        claims = [one for one in claims if one not in ("network.interface", "dask.submit")]
    for key in claims:
        if facts is None:
            yield unknown(key, why)
        elif key == "network.interface":
            yield _interface(str(site.network.interface), facts)
        elif key == "dask.submit":
            yield _submit(loaded, facts)
        elif key in facts.directories:
            yield _directory(key, facts.directories[key], facts.host)


def _has_local_directory(loaded: LoadedSite) -> bool:
    return loaded.site.dask.memory is not None and loaded.site.dask.local_directory is not None


def _interface(name: str, facts: NodeFacts) -> Line:
    there = ", ".join(f"{one} {address}" for one, address in facts.interfaces.items()) or "none"
    if name in facts.interfaces:
        return holds("network.interface", f"{name} {facts.interfaces[name]} on {facts.host}")
    found = f"no {name} with an address on {facts.host}; there are: {there}"
    return differs("network.interface", found, Fix(("network", "interface")))


def _directory(key: str, found: Directory, host: str) -> Line:
    if "$" in found.path:
        return differs(key, f"{found.path} names a variable that jobs on {host} do not have")
    if not found.writable:
        state = "cannot be written" if found.exists else "is not there, and cannot be made"
        return differs(key, f"{found.path} {state} on {host}")
    seen = "is there" if found.exists else "can be made"
    return holds(key, f"{found.path} {seen} on {host}, and can be written")


def _submit(loaded: LoadedSite, facts: NodeFacts) -> Line:
    asked = facts.scheduler
    if asked is None:
        return unknown("dask.submit", f"nothing was asked of {facts.host}")
    by_ssh = loaded.site.dask.submit == "ssh"
    what = "ssh to the login node answers" if by_ssh else "the scheduler's commands answer"
    said = Completed.of((), 127 if asked.exit is None else asked.exit, asked.stdout, asked.stderr)
    answers = said.exit == 0 if by_ssh else asked.exit is not None and _finds(loaded, said)
    if answers:
        return holds("dask.submit", f"{what} on {facts.host}")
    words = in_a_line(said.said) or f"exit code {asked.exit}"
    return differs("dask.submit", f"{what} not on {facts.host}: {words}")


def _finds(loaded: LoadedSite, said: Completed) -> bool:
    """Whether the scheduler has answered, if only that there is no such job."""
    try:
        access.scheduler_for(loaded.site, "").parse_find(said, "")
    except SchedulerError:
        return False
    return True
