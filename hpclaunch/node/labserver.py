"""JupyterLab with a session's settings, which no configuration file can change.

``python -m hpclaunch.node.labserver SESSION_DIR`` is ``python -m jupyterlab`` with one difference:
the settings in the session's ``jupyter_config.json`` are put on top of every configuration that is
loaded, from whichever file, in whichever order. Neither ``--config`` nor options can do that:
``--config`` replaces the user's own file, options would show the token to everybody on the node,
and the shim for old ``NotebookApp`` settings is applied after both.

The rest of the user's configuration stays. It is Python code of the user's own, so this guards
against mistakes and forgotten settings, not against the user.
"""

from __future__ import annotations

# ruff: noqa: E402  (imports behind a statement)
import gc

gc.disable()  # a fifth of the time that all the imports below take (1.1 s instead of 1.4 s)

import os
import sys
import warnings
from typing import Any

import zmq
from jupyter_client.manager import KernelManager
from jupyter_server.serverapp import ServerApp
from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]
from traitlets.config import Config

from hpclaunch.node.dask import PAGES
from hpclaunch.node.files import read_json
from hpclaunch.node.labpulse import add_pulse
from hpclaunch.node.layout import Layout
from hpclaunch.node.processes import end_with_parent

__all__ = ["forced_config", "main"]


def forced_config(settings: dict[str, dict[str, Any]]) -> Config:
    """Return `settings` as a traitlets configuration to be merged last.

    The entries of ``ServerProxy.servers`` are added to the user's own; everything else replaces.
    """
    forced = Config(settings)
    for section, kind in (("ServerApp", ServerApp), ("KernelManager", KernelManager)):
        known = kind.class_trait_names(config=True)
        for name in [name for name in forced[section] if name not in known]:
            del forced[section][name]  # this release knows no such thing
    if not zmq.has("curve"):  # a libzmq without libsodium; asking for it would stop every kernel
        forced.KernelManager.pop("transport_encryption", None)
    # A key of this process alone: cookies of a former session open nothing here.
    forced.ServerApp.cookie_secret = os.urandom(32)
    proxies = settings.get("ServerProxy", {}).get("servers")
    if proxies is not None:
        del forced.ServerProxy["servers"]
        forced.ServerProxy.servers.update(proxies)
    return forced


def _server_class(settings: dict[str, dict[str, Any]], pages: dict[str, str]) -> type[ServerApp]:
    forced = forced_config(settings)

    class SessionServer(ServerApp):  # type: ignore[misc]
        """A Jupyter server on which `settings` are always merged last."""

        no_browser_open_file = True  # the file would hold the token

        def update_config(self, config: Config) -> None:
            config = config.__deepcopy__({})
            config.merge(forced.__deepcopy__({}))
            super().update_config(config)

        def load_server_extensions(self) -> None:
            super().load_server_extensions()
            gc.freeze()  # all of it stays for as long as we live
            gc.enable()
            add_pulse(self.web_app, self.base_url, self.port)
            if pages:
                from hpclaunch.node.labpages import add_pages

                add_pages(self.web_app, self.base_url, **pages)

    return SessionServer


def main(argv: list[str]) -> None:
    """Serve the session in the directory ``argv[0]`` until Jupyter is told to stop."""
    end_with_parent()
    directory = os.path.abspath(argv[0])
    settings = read_json(os.path.join(directory, Layout.JUPYTER_CONFIG))
    # `python -m` put the start directory on the path. That was the session's, where no module
    # lies; from here on notebooks and kernels start where the user's files are.
    if sys.path and os.path.abspath(sys.path[0]) == directory:
        del sys.path[0]
    os.chdir(settings["ServerApp"].get("root_dir") or os.path.expanduser("~"))
    # Handlers of extensions that do not declare their login are locked by
    # `allow_unauthenticated_access`; thirty lines about it in the job's log help nobody.
    warnings.filterwarnings("ignore", message="Extension endpoints without @allow_unauthenticated")
    pages = settings.pop(PAGES, {})
    LabApp.serverapp_class = _server_class(settings, pages)
    LabApp.launch_instance([])


if __name__ == "__main__":
    main(sys.argv[1:])
