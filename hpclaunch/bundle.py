"""What the launcher takes along to a site: its own modules, so that nobody installs anything there.

The bundle is what the wheel holds: the package and its ``.dist-info``, so that entry points (the
xarray engine, jupyter-server-proxy's entry) are found when it lies on PYTHONPATH. Its key is made
of version and content, so two versions never share a directory.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from importlib import metadata
from pathlib import Path

from hpclaunch.script import tar_of

__all__ = ["bundle"]


@functools.cache
def bundle() -> tuple[str, bytes]:
    """Return the bundle's key (``VERSION-HASH``) and the bundle itself (``.tar.gz``)."""
    version = metadata.version("hpclaunch")
    files = _package_files() | _dist_info(version)
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    key = f"{version}-{digest.hexdigest()[:12]}"
    return key, gzip.compress(tar_of(files), mtime=0)


def _package_files() -> dict[str, bytes]:
    package = Path(__file__).parent
    return {
        f"hpclaunch/{file.relative_to(package).as_posix()}": file.read_bytes()
        for file in package.rglob("*.py")
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
