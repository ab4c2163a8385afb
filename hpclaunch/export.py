"""Plan -> what belongs to Dask on a site where no session of ours runs.

Somebody's own ``SLURMCluster()`` there is configured for the site, and every connection is TLS.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from hpclaunch.errors import PlanError, UsageError
from hpclaunch.node.daskconfig import own_clusters
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import session_from
from hpclaunch.plan import Plan
from hpclaunch.script import agent_spec
from hpclaunch.shell import printable, quote, site_word
from hpclaunch.tls import make_dask_credentials

__all__ = ["DaskExport", "as_yaml", "place_on_site"]

_CLASSES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}


def place_on_site(text: str) -> str:
    """The directory on the site that a person named, without a slash at its end.

    Raises
    ------
    UsageError
        If it cannot be one.
    """
    if not text.startswith("/") or text.strip("/") == "" or not text.isprintable():
        raise UsageError(
            f"--place {text}: must be the absolute path of a directory on the site",
            hint="Dask expands no ~ and no variable; `echo $HOME` on the site says where home is",
        )
    return str(PurePosixPath(text))


@dataclass(frozen=True)
class DaskExport:
    """A configuration that belongs into a directory on a site.

    Parameters
    ----------
    plan : Plan
        What a worker job on the site is.
    profile : str
        Where that comes from.
    place : str
        The directory on the site, see `place_on_site`.
    scheduler_interface : str, optional
        Network interface of the node where the notebook runs, if it is not that of the workers'.

    Raises
    ------
    PlanError
        If the site cannot have such a configuration.
    """

    plan: Plan
    profile: str
    place: str
    scheduler_interface: str | None = None

    def __post_init__(self) -> None:
        """Refuse what Dask could not use."""
        if self.plan.scheduler not in _CLASSES:
            raise PlanError(
                f"site {self.plan.site} has no batch scheduler that dask-jobqueue could use",
                hint="`LocalCluster()` of dask.distributed needs no configuration",
            )
        for interface in (self.plan.interface, self.scheduler_interface):
            if interface is not None and quote(interface) != interface:
                raise PlanError(
                    f"{interface!r} is no name of a network interface",
                    hint="`ip -brief address` on a node lists them",
                )

    def files(self, ends: datetime) -> dict[str, bytes]:
        """All files of the directory, by their path in it, with certificates that end at `ends`.

        Each is for its owner alone (0600): whoever has the key joins the clusters.
        """
        return {
            **make_dask_credentials(ends),
            Layout.DASK_FILE: self.text(ends).encode(),
            Layout.DASK_HANGUPS: importlib.resources.files("hpclaunch.clusters")
            .joinpath("hangups.py")
            .read_bytes(),
        }

    def text(self, ends: datetime | None = None) -> str:
        """The configuration as YAML, with comments that explain it."""
        session = session_from(self.place, agent_spec(self.plan))
        python = site_word(self.plan.python)
        comments = (f"# {line}".rstrip() for line in self._comments(ends))
        tables = own_clusters(session, python, self.scheduler_interface)
        return "\n".join(map(printable, comments)) + "\n" + as_yaml(tables)

    def _comments(self, ends: datetime | None) -> Iterator[str]:
        plan, cluster = self.plan, _CLASSES[self.plan.scheduler]
        yield f"Dask on {plan.site}, as {self.profile} describes it."
        yield from (
            f"`{cluster}()` of dask-jobqueue has these values where it is given none, and all",
            "connections are TLS.",
            "",
            f"This is {self.place}/{Layout.DASK_FILE}; DASK_CONFIG names its directory, or",
            "~/.config/dask has a link to it. Certificates and key lie where distributed.comm.tls",
            "says; whoever can read the key runs code as you in your clusters. What is preloaded",
            "keeps one lost connection from breaking others; a preload of yours goes beside it.",
        )
        if ends is not None:
            yield f"The certificates end on {ends:%Y-%m-%d}: export again before that day."
        yield from (
            "",
            "The scheduler's pages listen on its node's loopback and have no login: others on that",
            "node can look at them. To have none: `dashboard: false` beside dashboard_address, and",
            "distributed.scheduler.http.routes: []",
        )
        if self.scheduler_interface is None:
            where = f"on {plan.interface}" if plan.interface else "where Dask thinks best"
            yield from (
                "",
                f"The scheduler listens {where}. If workers do not reach it there, name another",
                "interface of the notebook's node beside dashboard_address (interface: NAME).",
            )
        if plan.scheduler_options:
            yield from (
                "",
                f"dask-jobqueue submits with {' '.join(plan.scheduler_options)}, and cancels",
                "without: set what SLURM reads from the environment (such as SLURM_CLUSTERS).",
            )


def as_yaml(tables: Mapping[str, Any], indent: str = "") -> str:
    """Tables within tables as YAML; what else they hold is written as JSON, which YAML includes.

    Examples
    --------
    >>> print(as_yaml({"a": {"b": ["x", 1]}, "c": None}), end="")
    a:
      b:
        - "x"
        - 1
    c: null
    """
    text = ""
    for key, value in tables.items():
        if isinstance(value, Mapping) and value:
            text += f"{indent}{key}:\n{as_yaml(value, indent + '  ')}"
        elif isinstance(value, list) and value:
            items = "".join(f"{indent}  - {_scalar(item)}\n" for item in value)
            text += f"{indent}{key}:\n{items}"
        else:
            text += f"{indent}{key}: {_scalar(value)}\n"
    return text


def _scalar(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
