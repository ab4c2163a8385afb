"""Where a file lies: on which file system, in which stripes, and how it is best asked for bytes.

The mount table is asked first, statfs(2) second, and then the file system's own tool, where it is
there and answers in time. Nothing here opens the file: one that was migrated to tape stays there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from hpclaunch.errors import StorageError
from hpclaunch.filesystems import KINDS, kind_of_magic, kind_of_mount
from hpclaunch.shell import Completed
from hpclaunch.storage import beegfs, ceph, gpfs, lustre
from hpclaunch.storage.mounts import Mount, magic_of, mount_of, read_mountinfo, this_mountinfo
from hpclaunch.storage.places import Place, Reading, reading_options, stripe_of
from hpclaunch.storage.remote import public
from hpclaunch.storage.tools import ask

__all__ = ["Place", "Reading", "place", "reading_options", "stripe_of"]

Ask = Callable[[Sequence[str]], "Completed | None"]

_URLS = {"s3": "S3", "gs": "Google Cloud Storage", "gcs": "Google Cloud Storage", "az": "Azure",
         "abfs": "Azure", "abfss": "Azure", "swift": "Swift", "http": "HTTP",
         "https": "HTTPS"}  # fmt: skip
_WEB = ("http", "https")
_SMALL = 2**16
"""Bytes: files below may hold their data where no block is counted for it."""


def place(
    path: str | os.PathLike[str],
    *,
    hint: str | None = None,
    ask: Ask = ask,
    mountinfo: str | None = None,
) -> Place:
    """Find out where a file or directory lies, without opening it.

    Parameters
    ----------
    path : path or str
        Or a URL of an object store.
    hint : str, optional
        The kind of file system that a site's profile gives. It only serves where nothing is found.
    ask : callable, optional
        Runs a tool and returns its answer, or None where it is not there or does not answer.
    mountinfo : str, optional
        The mount table, instead of that of this process.

    Raises
    ------
    OSError
        If the path cannot be looked at; FileNotFoundError, PermissionError and so on.
    StorageError
        If the URL is of no kind that is known.
    """
    text = os.fspath(path)
    if "://" in text:
        return _remote(text)
    real = os.path.realpath(text)
    facts = Path(real).stat()  # mounts what is mounted on demand, before the table is read
    mounts = read_mountinfo(this_mountinfo() if mountinfo is None else mountinfo)
    found = _kind(replace(_seen(real, facts), kind=KINDS["unknown"]), mount_of(mounts, real))
    found = _hinted(found, hint)
    if (
        stat.S_ISREG(facts.st_mode)
        and found.size > _SMALL
        and facts.st_blocks * 512 < found.size // 100
    ):
        found = replace(found, offline="perhaps" if found.shared else "no")
    return _ASKED[found.kind.name](found, ask) if found.kind.name in _ASKED else found


def _remote(url: str) -> Place:
    scheme = urlsplit(url).scheme.lower()
    if scheme == "file":
        return place(urlsplit(url).path)
    title = _URLS.get(scheme)
    if title is None:
        raise StorageError(
            f"{url}: no kind of storage is known by {scheme}://",
            hint=f"known are {', '.join(f'{one}://' for one in _URLS)} and paths",
        )
    device = urlsplit(url).netloc.rpartition("@")[2]
    kind = KINDS["web server" if scheme in _WEB else "object store"]
    return Place(public(url), kind, device=device, found=(f"{title}, by the URL",))


def _seen(path: str, facts: os.stat_result) -> Place:
    regular = stat.S_ISREG(facts.st_mode)
    block = getattr(facts, "st_blksize", 0)
    return Place(path, KINDS["unknown"], block=block, size=facts.st_size if regular else 0)


def _kind(found: Place, mount: Mount | None) -> Place:
    """Add what the mount table says, and statfs where it says nothing."""
    if mount is not None:
        kind = kind_of_mount(mount.type, mount.source, mount.options)
        notes = found.notes
        if kind.name == "overlay":
            notes += ("an overlay: its layers may lie on another file system",)
        if mount.root != "/" and kind.name not in ("btrfs", "overlay", "nfs", "vast", "lustre"):
            notes += (f"bind mount of {mount.root} of that file system",)
        found = replace(
            found,
            kind=kind,
            mount=mount.point,
            device=mount.source,
            options=mount.options,
            found=(
                *found.found,
                f"{mount.type} in the mount table",
            ),
            notes=notes,
        )
    if found.kind.name in ("unknown", "fuse"):
        magic = magic_of(found.path)
        kind = KINDS["unknown"] if magic is None else kind_of_magic(magic)
        if magic is not None and kind.name not in ("unknown", found.kind.name):
            found = replace(found, kind=kind, found=(*found.found, f"statfs says 0x{magic:X}"))
    return found


def _hinted(found: Place, hint: str | None) -> Place:
    if hint is None or hint == found.kind.name:
        return found
    if found.kind.name == "unknown" and hint in KINDS:
        return replace(found, kind=KINDS[hint], found=(*found.found, "by the site's profile only"))
    note = f"the site's profile says {hint}; found was {found.kind.name}, and that holds"
    return replace(found, notes=(*found.notes, note))


def _lustre(found: Place, ask: Ask) -> Place:
    directory = Path(found.path).is_dir()
    argv = ["lfs", "getstripe", *(["-d"] if directory else []), "--yaml", found.path]
    answer = ask(argv)
    if answer is not None and answer.exit != 0:
        answer = ask([word for word in argv if word != "--yaml"])  # before Lustre 2.9
    components, by = lustre.read_getstripe(_said(answer)), "stripes by lfs getstripe"
    if not components and (raw := _attribute(found.path, "lustre.lov")):
        components, by = lustre.read_lov(raw), "stripes by the attribute lustre.lov"
    if not components:
        return _untold(found, "the stripes are not known: lfs is not here or did not answer")
    if directory:  # defaults for new files: nothing of them is in use yet
        components = tuple(replace(one, flags=("init", *one.flags)) for one in components)
    offline = "yes" if lustre.released(components) else found.offline
    return replace(found, components=components, offline=offline, found=(*found.found, by))


def _gpfs(found: Place, ask: Ask) -> Place:
    answer = ask(["mmlsattr", "-L", found.path])
    facts = gpfs.read_mmlsattr(answer.stdout) if answer is not None and answer.exit == 0 else None
    if facts is None:
        found = _untold(
            found, "pool and migration are not known: mmlsattr is not here or did not answer"
        )
    else:
        notes = [f"storage pool {facts.pool}"] if facts.pool else []
        notes += ["compressed by the file system"] if facts.compressed else []
        found = replace(
            found,
            offline="yes" if facts.offline else "no",
            found=(*found.found, "pool and migration by mmlsattr -L"),
            notes=(*found.notes, *notes),
        )
    if found.block < _SMALL and found.device:
        device = found.device.removeprefix("/dev/")
        size = gpfs.read_mmlsfs(_said(ask(["mmlsfs", device, "-B"])))
        if size is not None:
            return replace(found, block=size, found=(*found.found, "block size by mmlsfs -B"))
    return replace(found, found=(*found.found, "block size by stat"))


def _beegfs(found: Place, ask: Ask) -> Place:
    for argv in (
        ["beegfs", "entry", "info", "--retro", found.path],
        ["beegfs-ctl", "--getentryinfo", found.path],
    ):
        answer = ask(argv)
        stripes = (
            beegfs.read_entry_info(answer.stdout)
            if answer is not None and answer.exit == 0
            else None
        )
        if stripes is not None:
            by = f"stripes by {' '.join(argv[:-1])}"
            return replace(found, components=(stripes,), found=(*found.found, by))
    return _untold(found, "the stripes are not known: beegfs is not here or did not answer")


def _ceph(found: Place, ask: Ask) -> Place:
    raw = _attribute(found.path, "ceph.file.layout") or _attribute(found.path, "ceph.dir.layout")
    stripes = ceph.read_layout(raw.decode(errors="replace")) if raw else None
    if stripes is None:
        return _untold(found, "the stripes are not known: no attribute ceph.file.layout")
    by = "stripes by the attribute ceph.file.layout"
    return replace(found, components=(stripes,), found=(*found.found, by))


_ASKED: dict[str, Callable[[Place, Ask], Place]] = {
    "lustre": _lustre,
    "gpfs": _gpfs,
    "beegfs": _beegfs,
    "ceph": _ceph,
}


def _said(answer: Completed | None) -> str:
    return answer.stdout if answer is not None and answer.exit == 0 else ""


def _untold(found: Place, note: str) -> Place:
    return replace(found, notes=(*found.notes, note))


def _attribute(path: str, name: str) -> bytes | None:
    """An extended attribute, which is read without the data; None where there is none."""
    if not hasattr(os, "getxattr"):
        return None
    try:
        return os.getxattr(path, name)
    except OSError:
        return None
