"""Pages of Dask schedulers that the user starts in notebooks, behind Jupyter's login.

The session's own cluster is at ``/dask/``; a cluster that a notebook makes is at
``/dask-at/PORT/``, where PORT is that of its pages. Its pages are locked like the session's (see
`hpclaunch.clusters.guard`) and are reached over a UNIX socket in a private directory, named after
the port: whoever else listens on a port of this node never sees the secret.
"""

from __future__ import annotations

import os
from typing import Any

from jupyter_server.utils import url_path_join
from jupyter_server_proxy.handlers import LocalProxyHandler
from tornado.web import Application, HTTPError

from hpclaunch.node.dask import DASHBOARD_HEADER

__all__ = ["add_pages"]


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


def add_pages(application: Application, base_url: str, directory: str, secret: str) -> None:
    """Serve ``/dask-at/PORT/…``.

    Parameters
    ----------
    application : tornado.web.Application
        Jupyter's.
    base_url : str
    directory : str
        Where schedulers of this session put their sockets.
    secret : str
        What opens their pages.
    """
    pattern = url_path_join(base_url, r"/dask-at/(\d{1,5})(/.*|)")
    arguments = {"directory": directory, "secret": secret}
    application.add_handlers(".*$", [(pattern, ClusterPages, arguments)])
