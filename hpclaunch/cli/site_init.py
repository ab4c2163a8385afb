"""`hpclaunch site init`: from a host to a profile that a session starts with."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from hpclaunch import paths
from hpclaunch.cli.tell import Progress, tell
from hpclaunch.errors import HpclaunchError, ProfileError, UsageError
from hpclaunch.shell import quote
from hpclaunch.sites.catalog import known_sites
from hpclaunch.survey.choices import usable
from hpclaunch.survey.findings import Survey
from hpclaunch.survey.profile import Access, Profile, write_profile
from hpclaunch.survey.take import read_survey, survey_script, take

__all__ = ["init"]


def init(arguments: argparse.Namespace) -> int:
    """Ask a site, write its profile, say what comes next."""
    if arguments.script:
        sys.stdout.write(survey_script())
        return 0
    access = _access(arguments)
    if arguments.name and arguments.output != "-":
        _free(_place(arguments.output, arguments.name), force=arguments.force)
    survey = _report(arguments.offline) if arguments.offline else _ask_site(arguments, access)
    if survey.scheduler is None:
        raise HpclaunchError(
            f"no scheduler was found on {survey.host} that answers",
            said="\n".join(survey.notes),
            hint="if one is found only after some command, run the script of "
            "`hpclaunch site init --script` there behind it, and give its output to --offline",
        )
    if access.host is None and access.transport != "local":
        access = replace(access, host=survey.host or None)
    try:
        profile = write_profile(
            survey,
            access,
            name=arguments.name,
            python=arguments.environment,
            account=arguments.account,
        )
    except ValueError as error:
        raise UsageError(f"a profile cannot hold this: {error}") from None
    if arguments.output == "-":
        sys.stdout.write(profile.text)
        return 0
    place = _place(arguments.output, profile.name)
    shadowed = known_sites().get(profile.name)
    _write(place, profile, force=arguments.force)
    _next_steps(place, profile, survey, shadowed)
    return 0


def _access(arguments: argparse.Namespace) -> Access:
    """The keys of ``[login]``; paths of this machine are written whole."""
    user, _, host = (arguments.host or "").rpartition("@")
    local = arguments.transport == "local"
    if not host and not local and not arguments.offline:
        raise UsageError(
            "site init: which host?",
            hint="give [USER@]HOST as you would to ssh; or --script and --offline, where only "
            "somebody else can log in; or --transport local, on the login node itself",
        )
    if local and host:
        raise UsageError("--transport local asks this machine: give no host")
    return Access(
        host=host or None,
        user=user or None,
        port=arguments.port,
        identity=_whole(arguments.identity),
        ssh_config=_whole(arguments.ssh_config),
        transport=None if arguments.transport == "auto" else arguments.transport,
    )


def _whole(path: str | None) -> str | None:
    if path is None:
        return None
    file = paths.expand(path).absolute()
    if not file.is_file():
        raise UsageError(f"there is no file {path}")
    return str(file)


def _ask_site(arguments: argparse.Namespace, access: Access) -> Survey:
    """One connection, authenticated once: it is still there when `start` comes within a minute."""
    from hpclaunch.cli.start import pausing
    from hpclaunch.keeper.client import KeeperClient
    from hpclaunch.sessions.way import Way
    from hpclaunch.transports.factory import resolve_kind
    from hpclaunch.transports.target import Target

    way = Way(
        resolve_kind(arguments.transport),
        Target(
            host=access.host or "localhost",
            user=access.user,
            port=access.port,
            identity=access.identity,
            ssh_config=Path(access.ssh_config) if access.ssh_config else None,
        ),
    )
    pythons = [arguments.environment] if arguments.environment else []
    with Progress() as progress, KeeperClient(way) as keeper:
        progress(f"connecting to {way}")
        keeper.connect(pausing(progress))
        progress(f"asking {way} what the site is like (at most some minutes)")
        return take(keeper.run, pythons)


def _report(file: str) -> Survey:
    if file == "-":
        return read_survey(sys.stdin.read())
    try:
        return read_survey(paths.expand(file).read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from None


def _place(output: str | None, name: str) -> Path:
    """The file to write."""
    if output is not None:
        place = paths.expand(output)
        if place.suffix != ".toml":
            raise UsageError(f"--output {output}: a profile's name ends with .toml")
        return place.absolute()
    return paths.sites_dir() / f"{name}.toml"


def _free(place: Path, *, force: bool) -> None:
    if place.exists() and not force:
        raise ProfileError(
            f"{place} is there already, and nothing was written",
            hint="give another --name or --output, or --force to write it anew",
        )


def _write(place: Path, profile: Profile, *, force: bool) -> None:
    _free(place, force=force)
    if place.parent == paths.sites_dir():
        paths.private_dir(paths.config_dir())
        paths.private_dir(paths.sites_dir())
    try:
        with place.open("w" if force else "x", encoding="utf-8") as file:
            file.write(profile.text)
    except OSError as error:
        raise HpclaunchError(
            f"{place} cannot be written: {error.strerror or error}",
            hint="choose another place with --output; the folder must be there",
        ) from None


def _next_steps(place: Path, profile: Profile, survey: Survey, shadowed: Path | None) -> None:
    """What was found, what to look at, and the command that comes next.

    `shadowed` is the profile that was found by this name before.
    """
    queues = [one.name for one in usable(survey)]
    tell(f"{survey.release} with {len(queues)} queues for you: {', '.join(queues[:8])}")
    for remark in profile.remarks:
        tell(f"look at: {remark}")
    tell(f"written: {place}")
    known = known_sites().get(profile.name)
    by_name = known is not None and known.samefile(place)
    if by_name and shadowed is not None and shadowed != place:
        tell(f"it goes before the profile of this name in {shadowed.parent}")
    site = profile.name if by_name else quote(str(place))
    tell(f"next: hpclaunch start {site}")
