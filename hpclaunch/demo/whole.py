"""A complete make-believe site: a scheduler, a login node, and all their files in one directory.

::

    DIRECTORY/          0700
        site.toml       the profile
        ssh_config, known_hosts, key
        bin/            the scheduler's commands, and `misbehave` and `behave`
        spool/          what the scheduler knows
        home/, tmp/     of whoever logs in; home/environment is the Python environment
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hpclaunch.demo import files
from hpclaunch.demo.modes import MODES
from hpclaunch.demo.programs import COMMANDS, install
from hpclaunch.demo.spool import Spool, user
from hpclaunch.demo.sshd import LoginNode, Surroundings
from hpclaunch.errors import HpclaunchError, UsageError
from hpclaunch.shell import quote

__all__ = ["NAMES", "DemoSite"]

NAMES = {"slurm": "SLURM", "pbs": "PBS", "lsf": "LSF"}
"""Each scheduler's name as people write it."""

_ODD = set("\"\\%$'\n:")
_GRACE = 5.0
"""Seconds for jobs that are told to end."""
_MOMENT = 5.0
"""Seconds for what is killed to be gone."""


class DemoSite:
    """One such site; it is up from its making to `end`.

    Parameters
    ----------
    kind : {"slurm", "pbs", "lsf"}
    directory : Path, optional
        A directory that is new or empty, and stays; by default a temporary one, which does not.
    modes : mapping
        How the scheduler misbehaves from the beginning, see `hpclaunch.demo.modes`.

    Attributes
    ----------
    directory, profile, ssh_config : Path
    commands : sequence of str
        The scheduler's.

    Raises
    ------
    UsageError
        If the directory is not new or has a name that cannot stand in an ssh configuration.
    """

    def __init__(
        self, kind: str, directory: Path | None = None, modes: Mapping[str, str] | None = None
    ) -> None:
        self.kind = kind
        self.commands: Sequence[str] = tuple(COMMANDS[kind])
        self._stays = directory is not None
        self.directory = _new(directory)
        self.profile = self.directory / "site.toml"
        self.ssh_config = self.directory / "ssh_config"
        self.spool = Spool(self.directory / "spool")
        try:
            self._login = self._build(modes or {})
        except BaseException:
            self._remove()
            raise

    def behave(self) -> None:
        """Switch off whatever the scheduler does wrong; jobs that are held stay so."""
        for name in MODES:
            self.spool.set_mode(name, None)

    def end(self) -> None:
        """End all jobs, the login node, and every process that came from them; remove the files."""
        self.behave()
        self.spool.set_mode("refuse", "the make-believe site is going down")
        alive = [job.id for job in self.spool.jobs() if not self.spool.course(job.id).is_over]
        for job in alive:
            self.spool.cancel(job, user())
        _until(_GRACE, lambda: all(self.spool.course(job).is_over for job in alive))
        self._login.close()
        deadline = time.monotonic() + _MOMENT
        while (left := list(self._processes())) and time.monotonic() < deadline:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.05)
        self._remove()

    def _build(self, modes: Mapping[str, str]) -> LoginNode:
        name = user()
        for folder in ("home", "tmp"):
            (self.directory / folder).mkdir(mode=0o700)
        (self.directory / "home" / "environment").symlink_to(sys.prefix)  # for `site init` to find
        install(self.kind, self.directory / "bin", self.spool.path)
        for mode, how in modes.items():
            self.spool.set_mode(mode, how)
        # /etc/profile may set PATH anew, for terminals of JupyterLab too.
        path = f"PATH={quote(f'{self.directory}/bin')}:$PATH\n"
        (self.directory / "home" / ".profile").write_text(path)
        shell = shutil.which("bash") or "/bin/sh"
        found = files.environment(self.directory, name, shell, os.environ)
        host, guest = files.make_key(), files.make_key(self.directory / "key")
        place = Surroundings(name, shell, found["HOME"], found)
        login = LoginNode(host, guest, place)
        (self.directory / "known_hosts").write_text(files.known_hosts(login.port, host))
        self.ssh_config.write_text(files.ssh_config(self.directory, name, login.port))
        self.profile.write_text(files.profile(self.kind, NAMES[self.kind]))
        return login

    def _processes(self) -> Iterator[int]:
        """Processes that began in this site's home directory, whoever their parents are now."""
        mark = os.fsencode(f"\0HOME={self.directory}/home\0")
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it is gone, or somebody else's
                if mark in b"\0" + (entry / "environ").read_bytes():
                    yield int(entry.name)

    def _remove(self) -> None:
        if not self._stays:
            shutil.rmtree(self.directory, ignore_errors=True)


def _new(directory: Path | None) -> Path:
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="hpclaunch-demo-")).resolve()
    path = directory.expanduser().resolve()
    if _ODD & set(str(path)):
        raise UsageError(
            f"the directory {path} cannot stand in an ssh configuration",
            hint="choose one whose name has none of " + " ".join(sorted(_ODD - {"\n"})),
        )
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UsageError(f"the directory {path} is not empty", hint="choose a new one")
        path.chmod(0o700)
    except OSError as error:
        raise HpclaunchError(f"the directory {path} cannot be made: {error.strerror}") from None
    return path


def _until(seconds: float, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
