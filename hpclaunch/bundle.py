"""What the launcher takes along to a site: its own modules, so that nobody installs anything there.

The bundle is what the wheel holds but for compiled code, whose source goes along to be compiled
there: the package and its ``.dist-info``, so that entry points (the xarray engine,
jupyter-server-proxy's entry) are found when it lies on PYTHONPATH. Its key is made of version and
content, so two versions never share a directory.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from hpclaunch.script import tar_of

__all__ = ["Bundle", "bundle"]


@dataclass(frozen=True)
class Bundle:
    """The files that are taken along, by their path in it."""

    version: str
    files: Mapping[str, bytes]

    @functools.cached_property
    def key(self) -> str:
        """``VERSION-HASH``."""
        digest = hashlib.sha256()
        for name, data in sorted(self.files.items()):
            digest.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
        return f"{self.version}-{digest.hexdigest()[:12]}"

    @functools.cached_property
    def archive(self) -> bytes:
        """All of it, as ``.tar.gz``. Only a site that has not seen this key needs it."""
        return gzip.compress(tar_of(self.files), mtime=0)


@functools.cache
def bundle() -> Bundle:
    """Return the bundle of this installation."""
    version = metadata.version("hpclaunch")
    return Bundle(version, _package_files() | _dist_info(version))


def _package_files() -> dict[str, bytes]:
    package = Path(__file__).parent
    return {
        f"hpclaunch/{file.relative_to(package).as_posix()}": file.read_bytes()
        for file in package.rglob("*")
        if file.suffix in (".py", ".c", ".h")
    }


def _dist_info(version: str) -> dict[str, bytes]:
    """``.dist-info`` with what entry points need; RECORD is left to installers."""
    distribution = metadata.distribution("hpclaunch")
    entries: dict[str, list[str]] = {}
    for point in distribution.entry_points:
        if point.group != "console_scripts":
            entries.setdefault(point.group, []).append(f"{point.name} = {point.value}")
    text = "\n".join(
        f"[{group}]\n" + "\n".join(sorted(lines)) + "\n" for group, lines in sorted(entries.items())
    )
    folder = f"hpclaunch-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: hpclaunch\nVersion: {version}\n"
    return {f"{folder}/METADATA": about.encode(), f"{folder}/entry_points.txt": text.encode()}
