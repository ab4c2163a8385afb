"""Dask over TLS where a peer hangs up: that connection ends, and no other with it.

Dask closes TLS connections without TLS's word of farewell. From Python 3.12 on the `ssl` module
leaves OpenSSL's error about that in the thread's queue when the peer is gone already
(python/cpython#148594), and the next connection that the thread reads from is taken for broken:
a client that leaves takes workers along. With ``OP_IGNORE_UNEXPECTED_EOF`` OpenSSL makes no error
of it. Nothing is lost by that: Dask's messages tell their lengths.

Dask loads this module as a preload. It needs nothing else of hpclaunch, as it is also copied to
where hpclaunch is not.
"""

from __future__ import annotations

import ssl
from typing import Any

from distributed.security import Security

__all__ = ["dask_setup"]

# Python has no such option where its OpenSSL is older than 3, which makes no such error either.
_OPTION = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)


def dask_setup(node: Any) -> None:
    """See to the connections of a scheduler, worker, nanny or client made before this was loaded.

    Parameters
    ----------
    node : distributed.Scheduler, distributed.Worker, distributed.Nanny or distributed.Client
    """
    _see_to(node.connection_args["ssl_context"])


def _see_to(context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    if context is not None:
        context.options |= _OPTION
    return context


def _see_to_all() -> None:
    """From now on every TLS context of Dask in this process has the option."""
    make = Security._get_tls_context
    if getattr(make, "hangs_up", False):
        return

    def _get_tls_context(self: Security, *args: Any, **kwargs: Any) -> ssl.SSLContext | None:
        return _see_to(make(self, *args, **kwargs))

    _get_tls_context.hangs_up = True  # type: ignore[attr-defined]
    Security._get_tls_context = _get_tls_context


_see_to_all()
