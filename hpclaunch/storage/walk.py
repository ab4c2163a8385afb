"""Everything of an HDF5 file's metadata read once, so that a mirror of the file has it.

Another library then opens the mirror by its path. What both read lies in the same places, because
it is the same format: groups and links in order of names and of creation, object headers,
attributes with what they refer to, and the indexes of chunks. Values are brought by the places that
those tell, not by reading them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from hpclaunch.errors import StorageError
from hpclaunch.storage.mirror import Mirror

__all__ = ["bring", "elsewhere", "walk"]

SMALL_ROW, SMALL_ANY = 1 << 20, 4096
"""Bytes of one-dimensional datasets, and of others, up to which values are brought too: those that
an index keeps."""

_WRONG = (RuntimeError, KeyError, ValueError, TypeError, OSError, AttributeError)
"""What h5py raises for things that it does not know or that are not there."""

Box = tuple[tuple[int, int], ...]
"""For each dimension the first element and the one behind the last."""


def walk(handle: Any, mirror: Mirror, start: int) -> None:
    """Read all metadata of a file.

    Parameters
    ----------
    handle : h5py.File
        Open on the mirror.
    mirror : Mirror
    start : int
        Where the superblock lies.

    Raises
    ------
    StorageError
        If the file has links to other files.
    """
    if not mirror.walked:
        mirror.bring(_Walk(handle, mirror, start).small())
        mirror.walked = True


def elsewhere(dataset: Any) -> str | None:
    """Why a dataset's values lie in other files, or None."""
    from h5py import h5d

    plist = dataset.id.get_create_plist()
    if plist.get_layout() == h5d.VIRTUAL:
        return "it is virtual, and its values lie in other files"
    if plist.get_external_count():
        return "its values lie in external files"
    return None


def bring(dataset: Any, mirror: Mirror, start: int, box: Box | None = None) -> None:
    """Bring the stored bytes of a dataset, or of the chunks that a box touches.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of the mirror.
    mirror : Mirror
    start : int
        Where the superblock lies.
    box : tuple of (int, int), optional

    Raises
    ------
    StorageError
        If they lie in other files, or cannot be found.
    """
    why = elsewhere(dataset)
    if why is not None:
        raise StorageError(
            f"{mirror.source.identity.path}: {dataset.name} is not read by its URL: {why}",
            hint="copy all files to a file system, and open them there",
        )
    mirror.bring(_extents(dataset, start, box))
    if _refers(dataset.id.get_type()):
        where = ... if box is None else tuple(slice(*one) for one in box)
        dataset[where]  # of variable length: what the values refer to is fetched as it is read


def _refers(kind: Any) -> bool:
    """Whether values of a type are places in a heap, where the values themselves lie."""
    from h5py import h5t

    if kind.get_class() == h5t.COMPOUND:
        return any(_refers(kind.get_member_type(at)) for at in range(kind.get_nmembers()))
    if kind.get_class() == h5t.ARRAY:
        return _refers(kind.get_super())
    if kind.get_class() == h5t.STRING:
        return bool(kind.is_variable_str())
    return bool(kind.get_class() == h5t.VLEN or kind.equal(h5t.STD_REF_DSETREG))


def _extents(dataset: Any, start: int, box: Box | None) -> Iterator[tuple[int, int]]:
    """Where stored bytes lie; behind a user block releases of HDF5 count differently."""
    from h5py import h5d

    kind = dataset.id.get_create_plist().get_layout()
    bases = {0, start}
    if kind == h5d.CONTIGUOUS:
        offset = dataset.id.get_offset()
        if offset is not None:
            yield from ((offset + base, dataset.id.get_storage_size()) for base in bases)
    elif kind == h5d.CHUNKED:
        for chunk in _chunks(dataset):
            if box is None or _touches(chunk.chunk_offset, dataset.chunks, box):
                yield from ((chunk.byte_offset + base, chunk.size) for base in bases)


def _chunks(dataset: Any) -> list[Any]:
    found: list[Any] = []
    if not dataset.size:
        return found
    if hasattr(dataset.id, "chunk_iter"):
        dataset.id.chunk_iter(found.append)
        return found
    return [dataset.id.get_chunk_info(at) for at in range(dataset.id.get_num_chunks())]


def _touches(corner: tuple[int, ...], chunks: tuple[int, ...], box: Box) -> bool:
    return all(
        at < high and low < at + n for at, n, (low, high) in zip(corner, chunks, box, strict=True)
    )


def _small(dataset: Any) -> bool:
    if dataset.shape is None:
        return False
    size = dataset.size * dataset.id.get_type().get_size()
    return bool(size <= (SMALL_ROW if len(dataset.shape) == 1 else SMALL_ANY))


class _Walk:
    """The objects of an open file, each looked at once."""

    def __init__(self, handle: Any, mirror: Mirror, start: int) -> None:
        self.handle = handle
        self.mirror = mirror
        self.start = start

    def small(self) -> list[tuple[int, int]]:
        """Read all metadata; where the values of small datasets lie."""
        from h5py import h5o

        seen: set[Any] = set()
        found: list[tuple[int, int]] = []
        waiting = [self.handle["/"]]
        while waiting:
            one = waiting.pop()
            about = self._try(h5o.get_info, one.id)
            if about is None or (about.fileno, about.addr) in seen:
                continue
            seen.add((about.fileno, about.addr))
            waiting += self._referred(one)
            if hasattr(one, "keys"):
                waiting += self._children(one)
            elif hasattr(one, "shape") and _small(one) and elsewhere(one) is None:
                found += self._try(lambda which: list(_extents(which, self.start, None)), one) or []
        return found

    def _children(self, group: Any) -> list[Any]:
        """What a group links to, looked up in both orders."""
        from h5py import h5, h5l

        names: list[bytes] = []
        group.id.links.iterate(names.append)
        with suppress(*_WRONG):  # only where the order of creation was kept
            group.id.links.iterate(lambda _: None, idx_type=h5.INDEX_CRT_ORDER)
        found = []
        for name in names:
            if group.id.links.get_info(name).type == h5l.TYPE_EXTERNAL:
                path = f"{group.name.rstrip('/')}/{name.decode(errors='replace')}"
                raise StorageError(
                    f"{self.mirror.source.identity.path}: {path} is a link to another file",
                    hint="copy all files to a file system, and open them there",
                )
            found.append(self._try(group.__getitem__, name))
        return [one for one in found if one is not None]

    def _referred(self, one: Any) -> list[Any]:
        """Read the attributes of an object; what those of its dimensions refer to."""
        from h5py import h5, h5a

        with suppress(*_WRONG):
            h5a.iterate(one.id, lambda name, *_: None, index_type=h5.INDEX_CRT_ORDER)
        found: list[Any] = []
        for name in self._try(list, one.attrs) or []:
            value = self._try(one.attrs.__getitem__, name)
            if name == "DIMENSION_LIST" and value is not None:
                scales = [reference for references in value for reference in references]
                found += [self._try(self.handle.__getitem__, scale) for scale in scales]
        return [one for one in found if one is not None]

    def _try(self, act: Callable[[Any], Any], what: Any) -> Any:
        """What a function gives; None where h5py cannot, and not for want of bytes."""
        try:
            return act(what)
        except _WRONG:
            if self.mirror.fault is not None:
                raise self.mirror.fault from None
            return None
