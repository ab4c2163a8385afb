"""`hpclaunch site export-dask`: Dask's configuration for those who do not use the launcher."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hpclaunch import paths
from hpclaunch.cli.tell import tell
from hpclaunch.errors import HpclaunchError, UsageError
from hpclaunch.export import DaskExport, place_on_site
from hpclaunch.node.layout import Layout
from hpclaunch.plan import Plan, make_plan
from hpclaunch.request import Request
from hpclaunch.sessions.way import Way
from hpclaunch.shell import join
from hpclaunch.sites.catalog import LoadedSite, default_site, load

__all__ = ["export_dask"]

_DAYS = 365
_MOST_DAYS = 3650
_SOMEWHERE = "/home/USER/dask-{}"


def export_dask(arguments: argparse.Namespace) -> int:
    """Print the configuration, or write it with certificates into a new directory."""
    loaded = load(default_site() if arguments.site is None else arguments.site, arguments.settings)
    days = _days(arguments.days)
    stand_in = _SOMEWHERE.format(loaded.site.name)
    if arguments.output is not None and arguments.place is None:
        raise UsageError(
            "--output: the configuration names its certificates by their place on the site",
            hint=f"say where the directory will lie there: --place {stand_in} "
            "(`echo $HOME` on the site says where home is)",
        )
    place = place_on_site(stand_in if arguments.place is None else arguments.place)
    plan = _plan(loaded, arguments)
    export = DaskExport(plan, str(loaded.path), place, arguments.scheduler_interface)
    if arguments.output is None:
        print(export.text(), end="")
        if arguments.place is None:
            tell(f"note: {place} stands for a directory of yours on the site (--place)")
        tell("note: nothing is written; --output DIR writes it with certificates and key")
        return 0
    ends = datetime.now(UTC) + timedelta(days=days)
    directory = paths.expand(arguments.output)
    _write(directory, export.files(ends))
    print(directory)
    for line in _next_steps(loaded, plan, directory, place, ends):
        tell(line)
    return 0


def _plan(loaded: LoadedSite, arguments: argparse.Namespace) -> Plan:
    """A session with one worker, for the sake of the worker."""
    try:
        asked = Request(
            account=arguments.account,
            environment=arguments.environment,
            workers=1,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    plan = make_plan(loaded, asked, name="export")
    for warning in plan.warnings:
        tell(f"warning: {warning}")
    return plan


def _days(asked: int | None) -> int:
    if asked is None:
        return _DAYS
    if not 0 < asked <= _MOST_DAYS:
        raise UsageError(f"--days {asked}: must be between 1 and {_MOST_DAYS}")
    return asked


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    """Make a new private directory with these files, or none at all.

    Raises
    ------
    HpclaunchError
        If there is something already, or it cannot be made.
    """
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        raise HpclaunchError(
            f"{directory} is there already, and is not overwritten",
            hint="name another directory, or remove it: clusters with its certificates then need "
            "the new ones",
        ) from None
    except OSError as error:
        raise HpclaunchError(
            f"the directory {directory} cannot be made: {error.strerror or error}",
            hint="name one in a directory that is there and that you can write",
        ) from None
    try:
        for name, data in files.items():
            path = directory / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            paths.write_private(path, data)
    except BaseException:
        shutil.rmtree(directory)
        raise


def _next_steps(
    loaded: LoadedSite, plan: Plan, directory: Path, place: str, ends: datetime
) -> Iterator[str]:
    variable = join(["export", f"DASK_CONFIG={place}/{Layout.DASK_CONFIG}"])
    link = join(["ln", "-s", f"{place}/{Layout.DASK_FILE}"])
    yield f"the certificates end on {ends:%Y-%m-%d}: export again before that day"
    yield "what to do next:"
    yield f"  bring it to the site:     {join(_copy(loaded, directory, place))}"
    yield f"  there, before Python:     {variable}"
    yield f"  or, once for all Pythons: {link} ~/.config/dask/hpclaunch.yaml"
    where = (
        f" in {plan.container.image}, where the scheduler's commands are" if plan.container else ""
    )
    yield f"  make clusters with {plan.python}{where or ', as the workers run it'}"
    yield f"{directory / Layout.DASK_KEY} opens your clusters: remove it here once it is there"


def _copy(loaded: LoadedSite, directory: Path, place: str) -> list[str]:
    """The command that brings the directory to the site, modes included."""
    way = Way.of(loaded)
    if way.kind == "local":
        return ["cp", "-rp", str(directory), place]
    target = way.target
    options: list[str] = []
    options += ["-F", str(target.ssh_config)] if target.ssh_config else []
    options += ["-P", str(target.port)] if target.port else []
    options += ["-i", target.identity] if target.identity else []
    return ["scp", "-rp", *options, str(directory), f"{target}:{place}"]
