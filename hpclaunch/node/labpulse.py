"""The page over which the laptop feels whether Jupyter lives, and who has called it.

The laptop's keeper holds a connection open as long as it watches the session, also when nobody
looks. It must not pass for a browser's.
"""

from __future__ import annotations

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.web import Application, authenticated

from hpclaunch.node.idle import peers_of
from hpclaunch.node.layout import PULSE_PAGE

__all__ = ["add_pulse"]


class Pulse(APIHandler):  # type: ignore[misc]
    """Answers with the callers' own ends of the connections over which it was asked, as far as
    they are still open."""

    _track_activity = False  # to be watched is not to be used

    def initialize(self, port: int, callers: set[tuple[str, int]]) -> None:
        """Take what `add_pulse` gives."""
        self._port = port
        self._callers = callers

    @authenticated  # type: ignore[untyped-decorator]
    def get(self) -> None:
        """Note who asks."""
        here = self.request.connection.context.address[:2]
        self._callers &= peers_of(self._port)
        self._callers.add((str(here[0]), int(here[1])))
        self.finish({"callers": sorted(self._callers)})


def add_pulse(application: Application, base_url: str, port: int) -> None:
    """Serve ``/hpclaunch/pulse`` on Jupyter's `application`, which listens on `port`."""
    arguments = {"port": port, "callers": set()}
    application.add_handlers(".*$", [(url_path_join(base_url, PULSE_PAGE), Pulse, arguments)])
