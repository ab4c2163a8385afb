"""The addresses by which references name files. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from hpclaunch.errors import StorageError, UsageError
from hpclaunch.storage.remote import is_url, public

__all__ = ["check_addresses", "check_prefix", "directory_of", "store_of", "urls_of"]


def check_addresses(paths: Sequence[str]) -> None:
    """Raise `StorageError` unless references may name files that are read from there.

    What stands in an address stands in the references, which are there for others.
    """
    for one in filter(is_url, paths):
        if public(one) != one:
            raise StorageError(
                f"{public(one)}: its address has a password or a query, and references show it",
                hint="give the address alone, and credentials by storage_options",
            )
    if len({_scheme(one) for one in paths}) > 1:
        raise StorageError(
            "files of several kinds of places cannot be referred to together",
            hint="give files of one file system, one store or one web server",
        )


def _scheme(path: str) -> str:
    return path.partition("://")[0] if is_url(path) else "file"


def store_of(options: Mapping[str, Any] | None) -> dict[str, str]:
    """What readers have to know of a store besides its address, of fsspec's options for S3."""
    options = options or {}
    client = options.get("client_kwargs") or {}
    endpoint = options.get("endpoint_url") or client.get("endpoint_url")
    known = {"region": client.get("region_name"), "endpoint_url": endpoint and public(endpoint)}
    return {key: value for key, value in known.items() if value}


def check_prefix(prefix: str) -> None:
    """Raise `UsageError` if it is no beginning of addresses."""
    if "://" not in prefix:
        raise UsageError(f"{prefix!r} is no address", hint="for example s3://bucket/dir/")


def urls_of(paths: Sequence[str], prefix: str | None) -> tuple[str, ...]:
    """The files' addresses."""
    if prefix is None:
        return tuple(one if "://" in one else f"file://{one}" for one in paths)
    common = directory_of(paths)
    rests = [one[len(common) :] for one in paths]
    if common.startswith("http"):
        rests = [unquote(one) for one in rests]
    if prefix.startswith("http"):
        rests = [quote(one) for one in rests]
    return tuple(f"{prefix.rstrip('/')}/{one}" for one in rests)


def directory_of(paths: Sequence[str]) -> str:
    """The common beginning of paths, up to a slash."""
    folders = [one[: one.rindex("/") + 1] for one in paths]
    first, last = min(folders), max(folders)
    alike = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    common = first[:alike] if alike is not None else min(first, last, key=len)
    return common[: common.rindex("/") + 1]
