"""Where a file lies, as values, and how it is best asked for bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpclaunch.filesystems import Kind
from hpclaunch.storage.stripes import Stripes, stripes_at

__all__ = ["Place", "Reading", "reading_options", "stripe_of"]


@dataclass(frozen=True)
class Place:
    """Where a file or a directory lies, and how that was found out.

    Attributes
    ----------
    path : str
        Without symbolic links; or a URL.
    kind : Kind
    mount : str
        The mount point; "" where it is not known.
    device : str
        What is mounted there: a device, a server's export, the name of a file system.
    options : str
        How it is mounted.
    block : int
        Bytes of ``st_blksize``, the size the file system likes to be asked for; 0 where not known.
    components : tuple of Stripes
        The layout, in its order; empty where the file system has none or does not tell.
    size : int
        Bytes of the file; 0 of a directory.
    offline : str
        ``yes``: the data was migrated to tape, and a read waits for its recall. ``perhaps``: it
        has a size and hardly any blocks, as such files have; so have sparse ones. ``no``.
    found : tuple of str
        By what each thing was found out, in words.
    notes : tuple of str
        What else is worth to be told.
    """

    path: str
    kind: Kind
    mount: str = ""
    device: str = ""
    options: str = ""
    block: int = 0
    components: tuple[Stripes, ...] = ()
    size: int = 0
    offline: Literal["no", "perhaps", "yes"] = "no"
    found: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def shared(self) -> bool | None:
        """Whether other nodes see the file; None where that cannot be told."""
        return self.kind.shared

    @property
    def stripes(self) -> Stripes | None:
        """The component that holds the most bytes of the file."""
        used = [one for one in self.components if one.used]
        inside = [one for one in used if one.start < max(self.size, 1)]

        def bytes_of(one: Stripes) -> int:
            return min(self.size, self.size if one.end is None else one.end) - one.start

        return max(inside or used, key=bytes_of, default=None)


@dataclass(frozen=True)
class Reading:
    """How bytes are best asked of a place.

    Attributes
    ----------
    align : int
        Bytes: requests that begin and end at multiples of it touch the fewest servers; 0 where that
        makes no difference.
    gap : int
        Bytes that are better read and thrown away than left out by a second request.
    reason : str
    """

    align: int
    gap: int
    reason: str


REMOTE = Reading(0, 2**20, "a request costs tens of milliseconds, and many are made at once")
"""How bytes are asked of an object store or a web server."""


def stripe_of(place: Place, offset: int) -> Stripes | None:
    """The stripes that hold a byte of the file; None where there are none or they are not known."""
    return stripes_at(place.components, offset)


def reading_options(place: Place) -> Reading:
    """How the reader shall cut its requests to a file that lies there. Pure.

    A gap is what the file system delivers in the time that one more request costs: some 50
    microseconds from a local disk's cache, a millisecond of a parallel file system, tens of
    milliseconds of an object store.
    """
    stripes = place.stripes
    if place.kind.name in ("object store", "web server"):
        return REMOTE
    if stripes is not None and stripes.count != 0:
        return Reading(
            stripes.size,
            min(max(stripes.size, 2**18), 2**20),
            f"stripes of {_mib(stripes.size)}: a request inside one goes to one server",
        )
    if place.kind.name == "gpfs" and place.block >= 2**16:
        return Reading(
            place.block,
            min(place.block, 2**20),
            f"blocks of {_mib(place.block)}: GPFS fetches whole blocks",
        )
    if place.shared is False:
        return Reading(0, 2**16, "a request to a local file system is cheap")
    return Reading(0, 2**20, "a request over the network costs about a millisecond")


def _mib(count: int) -> str:
    return f"{count // 2**20} MiB" if count % 2**20 == 0 else f"{count // 2**10} KiB"
