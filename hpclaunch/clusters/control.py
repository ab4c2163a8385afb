"""How the holder is asked to scale: a UNIX socket, one JSON document in, one out.

The socket lies in a private directory of the node: who can reach it is the user. The notebook
(`hpclaunch.clusters.session`) and the session's Jupyter, for the laptop, speak to it.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from hpclaunch.errors import HpclaunchError, UsageError

__all__ = ["Scalable", "ask", "check_bounds", "check_number", "serve"]

_MOST = 2**24  # bytes of an answer
_PATIENCE = 180.0  # seconds: a submit and its retries


class Scalable(Protocol):
    """A cluster that can be asked."""

    async def set_workers(self, workers: int) -> None:
        """Have so many workers from now on."""

    def adapt_between(self, minimum: int, maximum: int) -> None:
        """Have as many workers as are of use, within bounds."""


def check_number(workers: int) -> None:
    """Raise `UsageError` for what is no number of workers."""
    if workers < 0:
        raise UsageError(
            f"{workers} workers cannot be had", hint="give a number that is not negative"
        )


def check_bounds(minimum: int, maximum: int) -> None:
    """Raise `UsageError` for what is no range of workers."""
    if not 0 <= minimum <= maximum or maximum == 0:
        raise UsageError(
            f"between {minimum} and {maximum} workers is no range",
            hint="give two numbers of workers, the smaller one first",
        )


async def serve(
    path: str, cluster: Scalable, document: Callable[[], dict[str, Any]]
) -> asyncio.AbstractServer:
    """Serve requests at the UNIX socket `path`.

    A request is ``{"workers": N}``, ``{"minimum": A, "maximum": B}`` or ``{}``; an answer is
    ``{"cluster": DOCUMENT}`` or ``{"error": ...}`` as `HpclaunchError.to_dict`.

    Parameters
    ----------
    path : str
        In a private directory.
    cluster : Scalable
    document : callable
        What is told of it.
    """

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline())
            try:
                await _obey(cluster, request)
                answer: dict[str, Any] = {"cluster": document()}
            except HpclaunchError as error:
                answer = {"error": error.to_dict(), "cluster": document()}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            pass  # whoever asked has gone, or is none of ours
        finally:
            writer.close()

    server = await asyncio.start_unix_server(converse, path)
    Path(path).chmod(0o600)
    return server


async def _obey(cluster: Scalable, request: dict[str, Any]) -> None:
    numbers = {key: request[key] for key in ("workers", "minimum", "maximum") if key in request}
    if not all(isinstance(number, int) for number in numbers.values()):
        raise UsageError("numbers of workers are whole numbers", hint="give whole numbers")
    if set(numbers) == {"workers"}:
        await cluster.set_workers(numbers["workers"])
    elif set(numbers) == {"minimum", "maximum"}:
        cluster.adapt_between(numbers["minimum"], numbers["maximum"])
    elif numbers:
        raise UsageError(
            "a cluster is scaled to N workers, or between a minimum and a maximum",
            hint="give workers, or both minimum and maximum",
        )


def ask(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """Ask the holder whose socket is at `path`; returns the cluster's document.

    Raises
    ------
    HpclaunchError
        What the holder says against it, or that there is none.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(path)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer = json.loads(stream.readline(_MOST))
    except (OSError, ValueError) as error:
        raise HpclaunchError(
            f"the process that holds the session's Dask cluster does not answer: {error}",
            hint="workers/holder.log in the session's directory says what became of it",
        ) from error
    if "error" in answer:
        raise HpclaunchError.from_dict(answer["error"])
    return dict(answer["cluster"])
