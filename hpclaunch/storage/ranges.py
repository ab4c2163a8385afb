"""Ranges of bytes asked of S3 and of web servers, through the sessions of fsspec's file systems.

fsspec brings credentials, endpoints and connections. The requests are made here, because its own
reading tells neither the state of the file that bytes came from nor that a server gave the whole
file instead of a range.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hpclaunch.errors import ChangedFile, StorageError
from hpclaunch.storage.layout import Identity
from hpclaunch.storage.remote import IN_FLIGHT

if TYPE_CHECKING:
    from hpclaunch.storage.remote import Remote

__all__ = ["PAUSES", "Answer", "ask", "matching"]

PAUSES = (0.1, 0.5, 2.0)
"""Seconds before a request that failed on its way is made again."""

_NEEDED = {"s3": ("fsspec", "s3fs"), "http": ("fsspec", "aiohttp"), "https": ("fsspec", "aiohttp")}
_AGAIN = {408, 429, 500, 502, 503, 504}
_CREDENTIALS = (
    'give credentials: backend_kwargs={"storage_options": {...}}, for S3 "key" and "secret" or '
    '"anon": True, and to a command by --storage-options FILE; without them the environment and '
    "~/.aws are asked"
)


@dataclass(frozen=True)
class Answer:
    """Bytes of a file, and the state of the file that they were taken from.

    Attributes
    ----------
    size : int
        Bytes of the whole file.
    mtime_ns : int
        Of ``Last-Modified``: nanoseconds since 1970, 0 where the server does not tell.
    etag : str
        "" where the server does not tell.
    data : bytes
    """

    size: int
    mtime_ns: int
    etag: str
    data: bytes

    def identity(self, name: str) -> Identity:
        """The state under a name; a number made of the ETag stands for the inode."""
        digest = hashlib.sha256(self.etag.encode()).digest()[:8]
        number = int.from_bytes(digest, "little") if self.etag else 0
        return Identity(name, self.size, self.mtime_ns, number)


class _Status(Exception):
    """A server's answer that brings no bytes."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class _Short(Exception):
    """A body that ended too early."""


def ask(remote: Remote, ranges: Sequence[tuple[int, int]]) -> list[Answer]:
    """See :meth:`~hpclaunch.storage.remote.Remote.ask`."""
    system = _filesystem(remote)
    future = asyncio.run_coroutine_threadsafe(_all(system, remote, ranges), system.loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def matching(remote: Remote) -> list[str]:
    """The URLs of the objects that match one with wildcards, in order."""
    try:
        return sorted(f"s3://{one}" for one in _filesystem(remote).glob(remote.url))
    except Exception as why:
        raise _told(why, remote, 0) from None


def _filesystem(remote: Remote) -> Any:
    """fsspec's file system; it keeps one for each set of options in each process."""
    missing = [name for name in _NEEDED[remote.scheme] if find_spec(name) is None]
    if missing:
        raise StorageError(
            f"{remote.name} is read with {', '.join(missing)}, which this Python does not have",
            hint="pip install 'hpclaunch[remote]'",
        )
    import fsspec

    options = dict(remote.options)
    options.pop("asynchronous", None)  # kerchunk leaves it in the dictionary that it is given
    if remote.scheme == "s3":
        pool = {"max_pool_connections": 2 * IN_FLIGHT}
        options["config_kwargs"] = {**pool, **options.get("config_kwargs", {})}
    try:
        return fsspec.filesystem(remote.scheme, **options)
    except (TypeError, ValueError) as why:
        raise StorageError(
            f"{remote.name}: fsspec does not take these storage_options ({type(why).__name__})",
            hint="s3fs.S3FileSystem and fsspec's HTTPFileSystem say which there are",
        ) from None


async def _all(system: Any, remote: Remote, ranges: Sequence[tuple[int, int]]) -> list[Answer]:
    free = asyncio.Semaphore(IN_FLIGHT)

    async def one(offset: int, length: int) -> Answer:
        async with free:
            return await _persistently(system, remote, offset, length)

    tasks = [asyncio.ensure_future(one(*each)) for each in ranges]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


async def _persistently(system: Any, remote: Remote, offset: int, length: int) -> Answer:
    """One range; what failed on its way is asked for again."""
    get = _from_s3 if remote.scheme == "s3" else _from_web
    for pause in (*PAUSES, None):
        try:
            found = await get(system, remote, offset, length)
            if len(found.data) < min(length, found.size - offset):
                raise _Short
            return found
        except Exception as why:
            if not offset and _status(why) == 416:
                return Answer(0, 0, "", b"")
            if pause is None or not _on_its_way(why):
                raise _told(why, remote, offset) from (why if isinstance(why, OSError) else None)
        await asyncio.sleep(pause)
    raise AssertionError


async def _from_web(system: Any, remote: Remote, offset: int, length: int) -> Answer:
    session = await system.set_session()
    options = dict(system.kwargs)
    headers = {
        **options.pop("headers", {}),
        "Range": f"bytes={offset}-{offset + length - 1}",
        "Accept-Encoding": "identity",
    }
    url = system.encode_url(remote.url)
    async with session.get(url, headers=headers, **options) as reply:
        told = reply.headers
        if reply.status != 206:
            raise _Status(reply.status)
        size = _whole(told.get("Content-Range", ""), offset, length)
        changed = told.get("Last-Modified")
        mtime = _nanoseconds(parsedate_to_datetime(changed)) if changed else 0
        return Answer(size, mtime, told.get("ETag", ""), await reply.read())


async def _from_s3(system: Any, remote: Remote, offset: int, length: int) -> Answer:
    bucket, key, version = system.split_path(remote.url)
    reply = await system._call_s3(
        "get_object",
        Bucket=bucket,
        Key=key,
        Range=f"bytes={offset}-{offset + length - 1}",
        **({"VersionId": version} if version else {}),
    )
    body = reply["Body"]
    try:
        if "ContentRange" not in reply:
            raise _Status(200)
        size = _whole(reply["ContentRange"], offset, length)
        changed = _nanoseconds(reply["LastModified"])
        return Answer(size, changed, reply.get("ETag", ""), await body.read())
    finally:
        body.close()


def _whole(told: str, offset: int, length: int) -> int:
    """The size of the file, of an answer's ``Content-Range``; it has to be the range asked for."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", told.strip())
    if found is None or int(found[1]) != offset or int(found[2]) >= offset + length:
        raise _Status(200)
    return int(found[3])


def _nanoseconds(when: Any) -> int:
    return int(when.timestamp()) * 10**9


def _on_its_way(why: Exception) -> bool:
    """Whether it may succeed when it is done again."""
    if isinstance(why, _Status):
        return why.status in _AGAIN
    return isinstance(why, _Short) or (_lost(why) and "Certificate" not in type(why).__name__)


def _lost(why: Exception) -> bool:
    """Whether a connection failed."""
    import aiohttp

    kinds = [aiohttp.ClientError, asyncio.TimeoutError, ConnectionError]
    theirs = sys.modules.get("botocore.exceptions")
    if theirs is not None:
        kinds += [theirs.ConnectionError, theirs.HTTPClientError, theirs.IncompleteReadError]
    return isinstance(why, tuple(kinds))


def _told(why: Exception, remote: Remote, offset: int) -> Exception:
    """The error that says it; without the URL, that may hold secrets."""
    name = remote.name
    status = _status(why)
    if isinstance(why, FileNotFoundError) or status in (404, 410):
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if isinstance(why, PermissionError) or status in (401, 403) or _without_credentials(why):
        return StorageError(f"{name}: the server refuses it", hint=_CREDENTIALS)
    if status == 416:
        return ChangedFile(f"{name} was cut: it ends before byte {offset}")
    if status == 200:
        return StorageError(
            f"{name}: the server gives no ranges of bytes, only the whole file",
            hint="copy the file to a file system, and open it there",
        )
    if isinstance(why, _Short):
        return StorageError(
            f"{name}: the server's answers end too early", hint="try again; is the server well?"
        )
    if status:
        return StorageError(f"{name}: the server answers with status {status}", hint="try again")
    said = type(why).__name__ if _lost(why) else f"{type(why).__name__}: {why}"
    return StorageError(
        f"{name} cannot be asked for its bytes: {said}",
        hint="is the URL right, and can the server be reached from here?",
    )


def _status(why: Exception) -> int:
    """The status of the answer that an error tells of, 0 where there was none."""
    if isinstance(why, _Status):
        return why.status
    reply = getattr(why.__cause__, "response", None) or getattr(why, "response", None)
    if not isinstance(reply, dict):
        return 0
    return int(reply.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _without_credentials(why: Exception) -> bool:
    return type(why).__name__ in ("NoCredentialsError", "PartialCredentialsError")
