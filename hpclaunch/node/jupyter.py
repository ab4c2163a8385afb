"""Jupyter's settings for a session, and the question whether it answers.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import importlib.util
import os
import socket
import ssl
import sys
from typing import Any, Optional

from hpclaunch.node.address import LOOPBACK
from hpclaunch.node.layout import JUPYTER_TLS_NAME, Layout
from hpclaunch.node.spec import Session

__all__ = ["NotLocked", "Probe", "command", "listen_host", "missing", "reserve_port", "settings"]

_EVERYWHERE = "0.0.0.0"
OLDEST_SERVER = 2
"""Jupyter Server 1 (until 2022) has no identity provider whose token could be forced."""


class NotLocked(Exception):
    """Jupyter lets in whoever comes, against its settings."""


def missing() -> Optional[str]:
    """What this environment lacks to serve JupyterLab, in words; None if nothing.

    Nothing is imported: that would cost the start a second.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        return "the Python environment of {} has no jupyterlab".format(sys.executable)
    try:
        version = importlib.metadata.version("jupyter_server")
    except importlib.metadata.PackageNotFoundError:
        return "the Python environment of {} has no jupyter_server".format(sys.executable)
    if int(version.split(".")[0]) < OLDEST_SERVER:
        return "jupyter_server {} of {} is older than {}.0".format(
            version, sys.executable, OLDEST_SERVER
        )
    return None


def command(session: Session) -> list[str]:
    """Argv that serves the session; it holds no secret."""
    return [sys.executable, "-m", "hpclaunch.node.labserver", session.directory]


def reserve_port(host: str) -> tuple[int, Optional[socket.socket]]:
    """Return a free port of `host` and the socket that keeps it for Jupyter.

    Jupyter's own ``port=0`` looks for a free port, closes it and binds it again later (older
    releases tell nobody which one they got), so another process can slip in between. While the
    returned socket is open, and because it never listens, the kernel gives its port to nobody who
    asks for a free one, but lets a server that names the port and also sets SO_REUSEADDR, as
    tornado does, bind it (Linux, ``inet_csk_bind_conflict``). Other systems do not share a port so;
    there nothing is kept, and a Jupyter that comes too late says so and ends.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, 0))
    port = int(holder.getsockname()[1])
    if os.uname().sysname == "Linux":
        return port, holder
    holder.close()
    return port, None


def listen_host(session: Session) -> str:
    """Where Jupyter listens: this machine only if the laptop is this machine, else everywhere."""
    return LOOPBACK if session.is_local else _EVERYWHERE


def settings(session: Session, port: int, token: str) -> dict[str, dict[str, Any]]:
    """Settings that no configuration file may change, by Jupyter's class and trait names.

    Everything else stays as the user has it.

    Parameters
    ----------
    session : Session
    port : int
        Port to serve on.
    token : str
        The session's token, the only way in.
    """
    server: dict[str, Any] = {
        "ip": listen_host(session),
        "port": port,
        "port_retries": 0,  # another port would not be the one we hold and tell
        "sock": "",
        "base_url": "/",
        "certfile": session.path(Layout.JUPYTER_CERT),
        "keyfile": session.path(Layout.JUPYTER_KEY),
        "client_ca": "",
        "ssl_options": {},
        # Requests arrive through the tunnel, which says Host: 127.0.0.1. Refusing every other Host
        # keeps web pages that rebind their name to this node's address out.
        "allow_remote_access": False,
        "local_hostnames": ["localhost"],
        "trust_xheaders": False,
        "allow_origin": "",
        "allow_origin_pat": "",
        "allow_credentials": False,
        "allow_unauthenticated_access": False,
        "disable_check_xsrf": False,
        "authenticate_prometheus": True,
        "tornado_settings": {},  # could carry any of the above past their traits
        "identity_provider_class": "jupyter_server.auth.identity.PasswordIdentityProvider",
        "authorizer_class": "jupyter_server.auth.authorizer.AllowAllAuthorizer",
        "login_handler_class": "jupyter_server.auth.login.LoginHandler",
        "open_browser": False,
        # The button would end Jupyter and with it the job, one click away from "close the tab".
        # `hpclaunch stop` and /api/shutdown do it on purpose.
        "quit_button": False,
        "terminals_enabled": True,
        "allow_root": os.geteuid() == 0,  # who starts a job as root has decided that already
    }
    if session.root_dir is not None:
        server["root_dir"] = session.root_dir
        server["preferred_dir"] = session.root_dir
    return {
        "ServerApp": server,
        "PasswordIdentityProvider": {
            "token": token,
            "hashed_password": "",
            "password_required": False,
            "allow_password_change": False,
            # The browser speaks plain http to the laptop's own loopback, where TLS ends: a cookie
            # marked Secure would never come back. On the site's network it always travels in TLS.
            "secure_cookie": False,
            "cookie_options": {},
            "get_secure_cookie_kwargs": {},
        },
        # Kernels talk to Jupyter over loopback, where everybody on the node could listen to what
        # they print. Releases of jupyter_client that can encrypt that shall.
        "KernelManager": {"transport": "tcp", "ip": LOOPBACK, "transport_encryption": "auto"},
    }


class Probe:
    """Asks a session's Jupyter, over TLS and as the laptop does, whether it serves.

    Parameters
    ----------
    session : Session
    port : int
        Where Jupyter was told to listen.
    token : str
    timeout : float
        Seconds for one answer.
    """

    def __init__(self, session: Session, port: int, token: str, timeout: float = 5.0) -> None:
        self._port = port
        self._token = token
        self._timeout = timeout
        # Only this session's authority is trusted, so that nobody who took the port passes for us.
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.load_verify_locations(cafile=session.path(Layout.CA))

    def serves(self) -> bool:
        """Whether Jupyter answers the session's token.

        Raises
        ------
        NotLocked
            If it also answers without.
        """
        try:
            status = self._status(self._token)
        except (OSError, http.client.HTTPException):
            return False
        if status != http.client.OK:
            return False
        try:
            without = self._status(None)
        except (OSError, http.client.HTTPException):
            return False
        if without == http.client.OK:
            raise NotLocked("Jupyter answers without the session's token")
        return True

    def _status(self, token: Optional[str]) -> int:
        """HTTP status of ``/api/status``."""
        headers = {"Host": "{}:{}".format(LOOPBACK, self._port), "Connection": "close"}
        if token is not None:
            headers["Authorization"] = "token " + token
        raw = socket.create_connection((LOOPBACK, self._port), self._timeout)
        with raw, self._context.wrap_socket(raw, server_hostname=JUPYTER_TLS_NAME) as secure:
            connection = http.client.HTTPConnection(LOOPBACK, self._port)
            connection.sock = secure
            connection.request("GET", "/api/status", headers=headers)
            return connection.getresponse().status
