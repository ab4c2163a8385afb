"""Put on PYTHONPATH, this makes hpclaunch run as on a laptop without POSIX.

Modules that Windows has not cannot be imported by hpclaunch's own modules (those of the standard
library may, for they are Linux's own here), there are no UNIX sockets for hpclaunch, and no ssh.
"""

import builtins
import sys

POSIX = {
    *("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"),
    *("readline", "curses", "crypt", "spwd"),
}
_import = builtins.__import__


def _hidden(name, globals=None, locals=None, fromlist=(), level=0):
    importer = str((globals or {}).get("__name__", ""))
    if importer.partition(".")[0] == "hpclaunch" and name.partition(".")[0] in POSIX and level == 0:
        raise ModuleNotFoundError(f"No module named {name!r}: this is no POSIX system", name=name)
    return _import(name, globals, locals, fromlist, level)


def _without_unix_sockets() -> None:
    import hpclaunch.keeper.address
    import hpclaunch.transports.ssh

    hpclaunch.keeper.address.listener_address = lambda folder: ("127.0.0.1", 0)
    hpclaunch.transports.ssh.ParamikoSSH._socket = lambda self, host, port: None


if any(word.startswith("hpclaunch") for word in sys.orig_argv):
    builtins.__import__ = _hidden
    _without_unix_sockets()
