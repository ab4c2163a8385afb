"""Where hpclaunch keeps the user's files on the laptop.

``HPCLAUNCH_HOME`` moves them all; otherwise they lie in the platform's own places.
Directories are made 0700 and files 0600.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path

from hpclaunch.errors import HpclaunchError

__all__ = [
    "config_dir",
    "data_dir",
    "expand",
    "private_dir",
    "runtime_dir",
    "shipped_dir",
    "state_dir",
    "write_private",
]

# ssh adds a temporary suffix of 17 characters to a control path; AF_UNIX paths end at 104 (macOS).
_LONGEST_RUNTIME_DIR = 50
_MOMENT = 2.0  # seconds


def expand(text: str) -> Path:
    """The path that a person wrote, with ``~`` and ``~NAME`` in front expanded.

    Raises
    ------
    HpclaunchError
        If there is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise HpclaunchError(f"{text}: there is no user of that name here") from None


def _home() -> Path | None:
    home = os.environ.get("HPCLAUNCH_HOME")
    return expand(home).absolute() if home else None


def config_dir() -> Path:
    """``user.toml`` and the user's own ``sites/``."""
    if home := _home():
        return home / "config"
    from platformdirs import user_config_path

    return user_config_path("hpclaunch", appauthor=False)


def state_dir() -> Path:
    """Session records."""
    if home := _home():
        return home / "state"
    from platformdirs import user_state_path

    return user_state_path("hpclaunch", appauthor=False)


def data_dir() -> Path:
    """Things of the site ``local``: its session directories and job spool."""
    if home := _home():
        return home / "data"
    from platformdirs import user_data_path

    return user_data_path("hpclaunch", appauthor=False)


def runtime_dir() -> Path:
    """Sockets: a short path, 0700, ours.

    The state directory's ``run`` where that is short enough for a UNIX socket, else a directory
    below the system's temporary one, refused if anybody else made it.
    """
    near = state_dir() / "run"
    if os.name == "nt" or len(str(near)) <= _LONGEST_RUNTIME_DIR:
        return private_dir(near)
    digest = hashlib.sha256(str(near).encode()).hexdigest()[:8]
    return private_dir(Path(tempfile.gettempdir()) / f"hpclaunch-{os.getuid()}-{digest}")


def private_dir(path: Path) -> Path:
    """Make `path` a directory that only the user can enter, and return it.

    Raises
    ------
    HpclaunchError
        If it cannot be made, is a link, or belongs to somebody else.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise HpclaunchError(
            f"the directory {path} cannot be made: {error.strerror or error}",
            hint="set HPCLAUNCH_HOME to a directory that you can write",
        ) from None
    if os.name != "nt":
        facts = path.lstat()
        if path.is_symlink() or facts.st_uid != os.getuid():
            raise HpclaunchError(
                f"{path} is not a directory of yours",
                hint="remove it, or set HPCLAUNCH_HOME to a directory that only you can write",
            )
        if facts.st_mode & 0o077:
            path.chmod(0o700)
    return path


def write_private(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write `data` to `path` at once and for all: a 0600 file beside it, renamed into place.

    Parameters
    ----------
    path : Path
    data : bytes
    mode : int
        Of the file when it is whole, for one that others may read.
    """
    handle, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode != 0o600:
            Path(temporary).chmod(mode)
        _replace(Path(temporary), path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _replace(new: Path, path: Path) -> None:
    """Rename; Windows refuses while another program reads the old file, so it gets a moment."""
    deadline = time.monotonic() + _MOMENT
    while True:
        try:
            new.replace(path)
            return
        except PermissionError:
            if os.name != "nt" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def sites_dir() -> Path:
    """Where profiles of the user's own lie."""
    return config_dir() / "sites"


def shipped_dir(what: str) -> Path:
    """The directory of shipped ``site_profiles`` or ``templates``.

    In a wheel they lie inside the package, in a checkout beside it.
    """
    here = Path(__file__).parent
    inside = here / "_data" / what
    return inside if inside.is_dir() else here.parent / what
