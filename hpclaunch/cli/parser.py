"""What can be typed. Standard library only: this module is imported for every ``--help``."""

from __future__ import annotations

import argparse
from typing import Any

from hpclaunch.cli.data_parser import add_data
from hpclaunch.cli.options import SITE, add, settings
from hpclaunch.cli.site_parser import add_demo, add_doctor, add_site

__all__ = ["build_parser"]


class _Version(argparse.Action):
    """``--version``, without paying for the metadata when nobody asks."""

    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        parser.exit(0, f"hpclaunch {version('hpclaunch')}\n")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; each command sets ``handler`` to module and function."""
    parser = argparse.ArgumentParser(
        prog="hpclaunch",
        description="JupyterLab and Dask on a supercomputer's compute nodes, from your laptop.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _start(commands)
    _batch(commands)
    _sessions(commands)
    add_site(commands)
    add_data(commands)
    add_demo(commands)
    add_doctor(commands)
    return parser


def _start(commands: Any) -> None:
    start = add(
        commands, "start", ("start", "start"), "Start JupyterLab on a compute node and open it."
    )
    start.add_argument("site", nargs="?", metavar="SITE", help=SITE)
    start.add_argument("--name", help="name of the session (default: SITE-N)")
    resources = _resources(start)
    resources.add_argument("--notebook-dir", metavar="DIR", help="root directory of JupyterLab")
    dask = start.add_argument_group("Dask")
    dask.add_argument("--workers", metavar="N", type=int, help="Dask workers")
    dask.add_argument(
        "--dask",
        choices=("jobqueue", "mpi", "none"),
        help="workers as jobs of their own, as MPI ranks of the session's job, or no Dask at all",
    )
    _insecure(dask)
    how = start.add_argument_group("how")
    how.add_argument("--dry-run", action="store_true", help="print the batch script, touch nothing")
    _foreground(how)
    settings(how)


def _resources(parser: argparse.ArgumentParser) -> Any:
    group = parser.add_argument_group("resources (default: as the site's profile says)")
    group.add_argument("--queue", metavar="NAME", help="queue (SLURM: partition)")
    group.add_argument("--account", metavar="NAME", help="account (project) to charge")
    group.add_argument("--walltime", metavar="TIME", help="such as 2:00:00, 1-12:00:00 or 90m")
    group.add_argument("--nodes", metavar="N", type=int, help="nodes of the job")
    group.add_argument("--cores", metavar="N", type=int, help="cores on each node")
    group.add_argument("--memory", metavar="SIZE", help="memory on each node, such as '8 GB'")
    group.add_argument("--gpus", metavar="N", type=int, help="GPUs on each node")
    group.add_argument("--environment", metavar="NAME", help="one of the site's environments")
    return group


class _Words(argparse.Action):
    """``[SITE] SCRIPT [ARG...]`` with options anywhere among them; behind ``--`` only ARGs."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        words = list(values)
        behind = words.index("--") if "--" in words else len(words)
        options = argparse.ArgumentParser(parser.prog, add_help=False, allow_abbrev=False)
        _batch_options(options)
        _, found = options.parse_known_args(words[:behind], namespace)
        for word in found:
            if word.startswith("-") and word != "-":
                parser.error(f"unrecognized option {word}; put -- before the script's own options")
        found += words[behind + 1 :]
        at = next((at for at, word in enumerate(found[:2]) if word.endswith(_SCRIPTS)), None)
        if found and at is None:
            parser.error(
                f"no script among {' '.join(found[:2])!r}: its name ends with .py or .ipynb"
            )
        namespace.site = found[0] if at == 1 else None
        namespace.script = found[at] if at is not None else None
        namespace.arguments = found[at + 1 :] if at is not None else []


_SCRIPTS = (".py", ".ipynb")


def _batch(commands: Any) -> None:
    batch = add(
        commands,
        "batch",
        ("batch", "batch"),
        "Run a script or a notebook on Dask over several nodes, by MPI.",
    )
    batch.usage = "hpclaunch batch [OPTION...] [SITE] SCRIPT.py|NOTEBOOK.ipynb [ARG...]"
    batch.set_defaults(site=None, script=None, arguments=[])
    batch.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        action=_Words,
        metavar="[SITE] SCRIPT [ARG...]",
        help="SCRIPT is sent along where it is a file here; else it is a path on the site. "
        "Its own options come behind --",
    )
    _batch_options(batch)


def _batch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="name of the batch (default: SITE-N)")
    resources = _resources(parser)
    resources.add_argument(
        "--workers-per-node",
        metavar="N",
        type=int,
        help="Dask workers on each node (default: those of the profile's worker jobs, at least 2)",
    )
    resources.add_argument(
        "--work-dir",
        metavar="DIR",
        dest="notebook_dir",
        help="where it runs on the site (default: beside a script of the site, else home)",
    )
    _insecure(parser)
    how = parser.add_argument_group("how")
    how.add_argument(
        "--wait", action="store_true", help="show the output, exit with the script's exit code"
    )
    how.add_argument("--timeout", metavar="SECONDS", type=float, help="with --wait: to its begin")
    how.add_argument("--again", metavar="NAME", help="run a recorded batch as it was")
    how.add_argument("--dry-run", action="store_true", help="print the batch script, touch nothing")
    how.add_argument("--json", action="store_true", help="print one JSON document")
    settings(how)


def _insecure(group: Any) -> None:
    group.add_argument(
        "--insecure-dask",
        action="store_true",
        help="no TLS between Dask's processes: whoever reaches their ports runs code as you",
    )


def _foreground(group: Any) -> None:
    group.add_argument("--detach", action="store_true", help="return once it is ready")
    group.add_argument("--no-browser", action="store_true", help="do not open a browser")
    group.add_argument("--timeout", metavar="SECONDS", type=float, help="give up after so long")
    group.add_argument("--json", action="store_true", help="print one JSON document when ready")


def _sessions(commands: Any) -> None:
    listing = add(commands, "list", ("sessions", "list_all"), "List all sessions of all sites.")
    listing.add_argument("--json", action="store_true", help="print a JSON array")
    listing.add_argument("--refresh", action="store_true", help="connect where there is no link")

    attach = add(
        commands, "attach", ("start", "attach"), "Open a session again: its tunnel and browser."
    )
    attach.add_argument("name", metavar="NAME")
    _foreground(attach)

    status = add(commands, "status", ("sessions", "status"), "Show one session.")
    status.add_argument("name", metavar="NAME")
    status.add_argument("--json", action="store_true", help="print a JSON document")

    scale = add(
        commands, "scale", ("scale", "scale"), "Have more or fewer Dask workers in a session."
    )
    scale.add_argument("name", metavar="NAME")
    scale.add_argument("workers", metavar="N", nargs="?", type=int, help="so many workers")
    scale.add_argument("--min", metavar="A", type=int, help="adapt by itself: at least")
    scale.add_argument("--max", metavar="B", type=int, help="and at most so many")
    scale.add_argument("--json", action="store_true", help="print a JSON document")

    logs = add(commands, "logs", ("logs", "logs"), "Print the log of a session's job.")
    logs.add_argument("name", metavar="NAME")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as the log grows")
    logs.add_argument("-n", "--lines", metavar="N", type=int, help="only the last N lines")

    why = add(
        commands, "why", ("sessions", "why"), "Say why a session failed or waits, and what to do."
    )
    why.add_argument("name", metavar="NAME")
    why.add_argument("--json", action="store_true", help="print a JSON document")

    stop = add(commands, "stop", ("sessions", "stop"), "End sessions and their jobs.")
    stop.add_argument("names", nargs="*", metavar="NAME")
    stop.add_argument("--all", action="store_true", help="every live session of every site")
