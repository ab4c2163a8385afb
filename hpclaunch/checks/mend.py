"""Where a repaired profile is written: never over a shipped one, and with the old one kept."""

from __future__ import annotations

import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from hpclaunch import paths
from hpclaunch.errors import ProfileError
from hpclaunch.sites.model import Site

__all__ = ["Mended", "is_shipped", "write_profile"]


@dataclass(frozen=True)
class Mended:
    """What was written.

    Attributes
    ----------
    path : Path
    backup : Path or None
        The profile as it was; None where it was not touched.
    """

    path: Path
    backup: Path | None = None


def is_shipped(path: Path) -> bool:
    """Whether a profile is one of hpclaunch's own."""
    return path.resolve().is_relative_to(paths.shipped_dir("site_profiles").resolve())


def write_profile(path: Path, text: str) -> Mended:
    """Put a repaired profile in the place of the old one, which is kept beside it.

    A shipped one stays as it is: the repaired one goes to the user's own sites, which are found
    first.

    Raises
    ------
    ProfileError
        If the text is no profile any more, or cannot be written.
    """
    _check(path, text)
    shipped, path = is_shipped(path), path.resolve()  # a link stays one
    try:
        if shipped:
            return Mended(_new(paths.sites_dir() / path.name, text))
        backup = _free(path)
        backup.write_bytes(path.read_bytes())
        mode = stat.S_IMODE(path.stat().st_mode)
        backup.chmod(mode)
        paths.write_private(path, text.encode(), mode=mode)
        return Mended(path, backup)
    except OSError as error:
        raise ProfileError(
            f"the repaired profile cannot be written: {error}",
            hint="copy the profile to where you may write, and check it there by its path",
        ) from None


def _check(path: Path, text: str) -> None:
    """A profile that was whole by itself must be so still."""

    def fault(written: str) -> ValidationError | None:
        try:
            Site.model_validate(tomllib.loads(written))
        except ValidationError as error:
            return error
        return None

    if fault(path.read_text(encoding="utf-8")) is None and (error := fault(text)) is not None:
        raise ProfileError(
            f"{path} cannot be repaired: it would be no profile any more ({error})",
            hint="change it by hand; nothing was written",
        )


def _new(path: Path, text: str) -> Path:
    if path.exists():
        raise ProfileError(
            f"{path} is there already, and is your own profile of this site",
            hint=f"check that one: hpclaunch site check {path.stem} --fix",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    paths.write_private(path, text.encode(), mode=0o644)
    return path


def _free(path: Path) -> Path:
    """A name for the old profile that is not in use."""
    number, backup = 1, path.with_name(f"{path.name}.bak")
    while backup.exists():
        number += 1
        backup = path.with_name(f"{path.name}.bak{number}")
    return backup
