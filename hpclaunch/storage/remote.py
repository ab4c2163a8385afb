"""A file at a URL: which one it is, in which state, and its bytes by ranges.

Every answer tells the state of the file that it was taken from, and is held against the state that
was expected: bytes of two states are never mixed, and no request is made only to look whether
anything changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from hpclaunch.errors import ChangedFile, CorruptFile, StorageError
from hpclaunch.storage.layout import Identity

if TYPE_CHECKING:
    from hpclaunch.storage.ranges import Answer

__all__ = [
    "IN_FLIGHT",
    "Location",
    "Remote",
    "RemoteFile",
    "each",
    "is_url",
    "located",
    "matching",
    "name_of",
    "places_of",
    "public",
    "refuse_urls",
]

Found = TypeVar("Found")

IN_FLIGHT = 16
"""Requests of this process that wait for an answer at most, besides those of its own threads."""


def is_url(path: str) -> bool:
    """Whether a path is a URL."""
    return "://" in path


def public(url: str) -> str:
    """A URL without secrets: no user and password, and a digest in place of the query."""
    scheme, _, rest = url.partition("://")
    rest, mark, query = rest.partition("?")
    host, slash, path = rest.partition("/")
    digest = hashlib.sha256(query.encode()).hexdigest()[:16]
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{mark}{digest if mark else ''}"


def refuse_urls(paths: Iterable[str], said: str, hint: str) -> None:
    """Raise `StorageError` for the first URL: its name without secrets, and what was said."""
    for one in filter(is_url, paths):
        raise StorageError(f"{public(one)}{said}", hint=hint)


def located(path: str, storage_options: Mapping[str, Any] | None = None) -> Location:
    """What a path or a URL names.

    Parameters
    ----------
    path : str
    storage_options : mapping, optional
        For fsspec's file system, as xarray passes them on.

    Raises
    ------
    StorageError
        If a URL is not one of those that are read here, or a path has options.
    """
    if is_url(path):
        return Remote(path, dict(storage_options or {}))
    if storage_options:
        raise StorageError(
            f"{path} is a local file, and storage_options are for URLs", hint="leave them out"
        )
    return path


def places_of(
    paths: Iterable[str], storage_options: Mapping[str, Any] | None = None
) -> list[Location]:
    """What paths and URLs name; the options are for the URLs among them."""
    return [located(one, storage_options if is_url(one) else None) for one in paths]


def name_of(place: Location) -> str:
    """A path, or a URL without secrets."""
    return place.name if isinstance(place, Remote) else place


def each(act: Callable[[Location], Found], places: Sequence[Location]) -> list[Found]:
    """What a function gives for each place; of URLs many are asked at once."""
    if not any(isinstance(one, Remote) for one in places):
        return [act(one) for one in places]
    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        return list(threads.map(act, places))


def matching(pattern: str, storage_options: Mapping[str, Any] | None = None) -> list[str]:
    """The URLs of the objects that match a pattern; web servers give no lists."""
    one = Remote(pattern, dict(storage_options or {}))
    if one.scheme != "s3" or "*" not in pattern:
        return [pattern]
    from hpclaunch.storage.ranges import matching

    found = matching(one)
    if not found:
        raise FileNotFoundError(f"no objects match {one.name!r}")
    return found


@dataclass(frozen=True, repr=False)
class Remote:
    """A file at a URL, and how one gets there. It holds no connection, and can be pickled.

    Attributes
    ----------
    url : str
        ``s3://``, ``http://`` or ``https://``.
    options : mapping
        For fsspec's file system: credentials, endpoint and so on. They go where the object goes,
        and are neither kept nor printed.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.scheme not in ("s3", "http", "https"):
            raise StorageError(
                f"{self.name}: URLs of {self.scheme}:// are not read here",
                hint="engine hpclaunch reads paths, s3://, http:// and https://",
            )

    def __repr__(self) -> str:
        return f"Remote({self.name!r})"

    @property
    def scheme(self) -> str:
        """The part before ``://``."""
        return self.url.partition("://")[0].lower()

    @property
    def name(self) -> str:
        """The URL without secrets: no user and password, and a digest in place of the query."""
        return public(self.url)

    def identify(self) -> Identity:
        """The state of the file: one request.

        Raises
        ------
        FileNotFoundError
            If there is none.
        StorageError
            If the server refuses, cannot be reached, or answers no requests for ranges.
        """
        return self.ask([(0, 1)])[0].identity(self.name)

    def ask(self, ranges: Sequence[tuple[int, int]]) -> list[Answer]:
        """What stands at some ranges of bytes, each given by its first byte and its length.

        They are asked for together. Errors are those of `identify`.
        """
        from hpclaunch.storage.ranges import ask

        return ask(self, ranges)


Location = str | Remote
"""A path, or a file at a URL."""


class RemoteFile:
    """A file at a URL in one state, as the reader's source.

    Attributes
    ----------
    remote : Remote
    identity : Identity
    """

    far = True

    def __init__(self, remote: Remote, identity: Identity) -> None:
        self.remote = remote
        self.identity = identity

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into`, see :meth:`~hpclaunch.storage.source.Source.read`."""
        if into.nbytes:
            into[:] = self.fetch([(offset, into.nbytes)])[0]

    def read_each(self, offsets: Sequence[int], sizes: Sequence[int], into: memoryview) -> None:
        """Fill `into`, see :meth:`~hpclaunch.storage.source.Source.read_each`."""
        found = b"".join(self.fetch(list(zip(offsets, sizes, strict=True))))
        into[: len(found)] = found

    def fetch(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """What stands at some ranges of bytes, all of one state.

        Raises
        ------
        ChangedFile
            If the file is not any more what it was.
        CorruptFile
            If it ends before.
        OSError, StorageError
            As `Remote.identify`.
        """
        found = []
        for (offset, length), one in zip(ranges, self.remote.ask(ranges), strict=True):
            self._hold_against(one.identity(self.identity.path))
            if len(one.data) < length:
                raise CorruptFile(
                    f"{self.identity.path} ends before byte {offset + length}, which its own index "
                    "names"
                )
            found.append(one.data)
        return found

    def check(self) -> None:
        """Nothing: each answer was held against the state that was expected."""

    def _hold_against(self, now: Identity) -> None:
        then = self.identity
        if now.size != then.size:
            raise ChangedFile(
                f"{then.path} had {then.size} bytes when it was opened, and has {now.size} now"
            )
        if (now.mtime_ns, now.inode) != (then.mtime_ns, then.inode):
            raise ChangedFile(f"{then.path} was replaced since it was opened")
