"""The addresses by which references name files. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from hpclaunch.errors import UsageError

__all__ = ["check_prefix", "directory_of", "urls_of"]


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
