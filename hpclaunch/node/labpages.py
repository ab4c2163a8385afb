"""Pages of Dask schedulers that the user starts in notebooks, behind Jupyter's login.

The session's own cluster is at ``/dask/``; a cluster that a notebook makes is at
``/dask-at/PORT/``, where PORT is that of its pages. Its pages are locked like the session's (see
`hpclaunch.clusters.guard`) and are reached over a UNIX socket in a private directory, named after
the port: whoever else listens on a port of this node never sees the secret.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from jupyter_server_proxy.handlers import LocalProxyHandler
from tornado.web import Application, HTTPError, authenticated

from hpclaunch.node.dask import CONTROL, DASHBOARD_HEADER
from hpclaunch.node.files import read_json
from hpclaunch.node.layout import CLUSTER_PAGE

__all__ = ["add_pages"]


_MOST = 2**24  # bytes of an answer: thousands of jobs


class ClusterPages(LocalProxyHandler):  # type: ignore[misc]
    """Pages of the scheduler that serves them on the port in the path."""

    def initialize(self, directory: str, secret: str) -> None:
        """Take what `add_pages` gives."""
        self._directory = directory
        self._secret = secret

    async def prepare(self, *args: Any, **options: Any) -> None:
        """Ask for the login, as every handler of the proxy, then find the scheduler's socket."""
        await super().prepare(*args, **options)
        port = self.path_args[0]
        self.unix_socket = os.path.join(self._directory, port)
        self.proxy_base = f"dask-at/{port}"
        if not os.path.exists(self.unix_socket):
            raise HTTPError(404, f"no Dask cluster of this session serves pages on port {port}")

    def get_request_headers_override(self) -> dict[str, str]:
        """The secret that opens the pages."""
        return {DASHBOARD_HEADER: self._secret}


class SessionCluster(APIHandler):  # type: ignore[misc]
    """Hands a question on to the process that holds the session's cluster.

    GET asks how it is; POST for more or fewer workers, see `hpclaunch.clusters.control`.
    """

    _track_activity = False  # to look at a cluster is not to use the session

    def initialize(self, directory: str, state: str) -> None:
        """Take what `add_pages` gives."""
        self._socket = os.path.join(directory, CONTROL)
        self._state = state

    @authenticated  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Tell how the cluster is."""
        self.finish(await self._ask({}))

    @authenticated  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Scale it."""
        self.finish(await self._ask(self.get_json_body() or {}))

    async def _ask(self, request: dict[str, Any]) -> bytes:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket, limit=_MOST)
        except OSError as error:
            ended = self._ended()
            if ended is not None:
                return json.dumps({"error": ended}).encode()
            raise HTTPError(404, f"this session holds no Dask cluster: {error}") from error
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            answer = await reader.readline()
        finally:
            writer.close()
        if not answer.endswith(b"\n"):
            raise HTTPError(502, "the process that holds the Dask cluster ended meanwhile")
        return answer

    def _ended(self) -> dict[str, str] | None:
        """Why there is no cluster any more, if the agent has seen it end: fields of an error."""
        try:
            told = read_json(self._state)
        except (OSError, ValueError):
            return None
        if told["state"] != "dead":
            return None
        return {
            "kind": "SessionError",
            "what": "the session's Dask cluster has ended, notebooks go on",
            "said": told["problem"],
            "hint": "save what they hold; a new session has a new cluster",
        }


def add_pages(
    application: Application, base_url: str, directory: str, secret: str, state: str
) -> None:
    """Serve ``/dask-at/PORT/…`` and ``/hpclaunch/cluster``.

    Parameters
    ----------
    application : tornado.web.Application
        Jupyter's.
    base_url : str
    directory : str
        Where schedulers of this session put their sockets.
    secret : str
        What opens their pages.
    state : str
        Path of the file that says how the session's own cluster is.
    """
    pattern = url_path_join(base_url, r"/dask-at/(\d{1,5})(/.*|)")
    arguments = {"directory": directory, "secret": secret}
    cluster = url_path_join(base_url, CLUSTER_PAGE)
    application.add_handlers(
        ".*$",
        [
            (pattern, ClusterPages, arguments),
            (cluster, SessionCluster, {"directory": directory, "state": state}),
        ],
    )
