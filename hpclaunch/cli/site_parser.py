"""What can be typed about sites. Standard library only, as `parser`."""

from __future__ import annotations

import argparse
from typing import Any

from hpclaunch.cli.options import SITE, add, settings

__all__ = ["add_demo", "add_doctor", "add_site"]


def add_doctor(commands: Any) -> None:
    """``doctor``."""
    doctor = add(
        commands,
        "doctor",
        ("doctor", "doctor"),
        "Report on laptop, login node and a one-minute job, to paste to a help desk.",
    )
    doctor.add_argument("site", nargs="?", metavar="SITE", help=SITE)
    _checks(doctor)


def _checks(parser: argparse.ArgumentParser) -> None:
    """What `site check` and `doctor` have in common."""
    parser.add_argument("--no-job", action="store_true", help="run no job, ask the login node only")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, help="for the job to answer (default: 300)"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    parser.add_argument("--queue", metavar="NAME", help="queue of the job")
    parser.add_argument("--account", metavar="NAME", help="account (project) to charge")
    parser.add_argument("--environment", metavar="NAME", help="one of the site's environments")
    settings(parser)


def add_site(commands: Any) -> None:
    """``site`` and its verbs."""
    site = commands.add_parser(
        "site", help="Sites: list, show, schema, init, check, export-dask.", allow_abbrev=False
    )
    verbs = site.add_subparsers(metavar="VERB", required=True)
    listing = add(verbs, "list", ("sites", "list_all"), "List the known sites.")
    listing.add_argument("--json", action="store_true", help="print a JSON array")
    show = add(verbs, "show", ("sites", "show"), "Print a site's profile with your values in it.")
    show.add_argument("site", nargs="?", metavar="SITE", help=SITE)
    show.add_argument("--origin", action="store_true", help="say where each value comes from")
    settings(show)
    add(verbs, "schema", ("sites", "schema"), "Print the JSON schema of a site profile.")
    _init(verbs)
    check = add(verbs, "check", ("check", "check"), "Hold a site's profile against the live site.")
    check.add_argument("site", nargs="?", metavar="SITE", help=SITE)
    check.add_argument(
        "--offline", action="store_true", help="only the profile itself, without a connection"
    )
    check.add_argument(
        "--fix", action="store_true", help="repair what differs in the file; the old one is kept"
    )
    _checks(check)
    export = add(
        verbs,
        "export-dask",
        ("export", "export_dask"),
        "Write Dask's configuration for a site, for clusters made there without hpclaunch.",
    )
    export.add_argument("site", nargs="?", metavar="SITE", help=SITE)
    export.add_argument(
        "--output",
        metavar="DIR",
        help="write it with certificates and key into this new directory here "
        "(default: only print the configuration)",
    )
    export.add_argument(
        "--place", metavar="DIR", help="where the directory will lie on the site, an absolute path"
    )
    export.add_argument(
        "--days", metavar="N", type=int, help="how long the certificates live (default: 365)"
    )
    export.add_argument(
        "--scheduler-interface",
        metavar="NAME",
        help="network interface of the node where the notebook runs, by which workers reach it",
    )
    export.add_argument("--account", metavar="NAME", help="account (project) to charge")
    export.add_argument("--environment", metavar="NAME", help="one of the site's environments")
    settings(export)


def add_demo(commands: Any) -> None:
    """``demo``."""
    demo = add(
        commands, "demo", ("demo", "demo"), "A make-believe site on this machine, until Ctrl-C."
    )
    demo.add_argument(
        "--scheduler", choices=("slurm", "pbs", "lsf"), default="slurm", help="default: slurm"
    )
    demo.add_argument(
        "--mode",
        metavar="MODE[=HOW]",
        action="append",
        default=[],
        dest="modes",
        help="let the scheduler misbehave, such as hold='Priority' or refuse; may be repeated",
    )
    demo.add_argument(
        "--directory",
        metavar="DIR",
        help="a new or empty directory for all files, which stays (default: a temporary one)",
    )
    demo.add_argument("--json", action="store_true", help="print one JSON document when it is up")


def _init(verbs: Any) -> None:
    init = add(
        verbs,
        "init",
        ("site_init", "init"),
        "Ask a login node what its site is like, and write its profile.",
    )
    init.add_argument(
        "host", nargs="?", metavar="[USER@]HOST", help="login node, or an alias of ~/.ssh/config"
    )
    init.add_argument("--name", help="name of the site (default: what the cluster calls itself)")
    init.add_argument(
        "--output",
        metavar="FILE",
        help="where to write it, - for stdout (default: NAME.toml where all sites of yours lie)",
    )
    init.add_argument("--force", action="store_true", help="overwrite a file that is there")
    init.add_argument(
        "--environment",
        metavar="PYTHON",
        help="interpreter on the site that has JupyterLab (default: the best that is found)",
    )
    init.add_argument("--account", metavar="NAME", help="account (project) to charge")
    way = init.add_argument_group("how to get there")
    way.add_argument("--port", metavar="N", type=int, help="port of the SSH server")
    way.add_argument("--identity", metavar="FILE", help="private key")
    way.add_argument("--ssh-config", metavar="FILE", help="ssh configuration instead of your own")
    way.add_argument(
        "--transport",
        choices=("auto", "openssh", "paramiko", "local"),
        default="auto",
        help="local: this machine is the login node (default: auto)",
    )
    by_hand = init.add_argument_group("by hand, where hpclaunch cannot log in")
    by_hand.add_argument(
        "--script", action="store_true", help="print the script that asks, to be run there by sh"
    )
    by_hand.add_argument(
        "--offline",
        metavar="REPORT",
        help="write the profile from what that script has printed (- for stdin); connect nowhere",
    )
