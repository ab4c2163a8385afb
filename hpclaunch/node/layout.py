"""Where things lie in a session's directory on the site, and the names both ends agree on.

Standard library only: this module is read on the laptop and on the node.
"""

from __future__ import annotations

__all__ = ["CLUSTER_PAGE", "JUPYTER_TLS_NAME", "LOOPBACK_ANY", "PULSE_PAGE", "Layout"]

JUPYTER_TLS_NAME = "jupyter.hpclaunch.invalid"
"""The name in Jupyter's certificate. The laptop asks for it, whatever the node is called."""

CLUSTER_PAGE = "/hpclaunch/cluster"
"""Where the laptop asks the session's Dask cluster how it is, and for more or fewer workers."""

LOOPBACK_ANY = "127.0.0.1:0"
"""Where Dask serves pages that nobody else on the network shall reach: on any port."""

PULSE_PAGE = "/hpclaunch/pulse"
"""Where the laptop feels whether Jupyter lives, and the agent hears which connections do that."""


class Layout:
    """File names below ``BASE/sessions/NAME-NONCE`` (0700); every file is 0600.

    The laptop writes: ``session.json`` (what the agent shall do), ``job.sh``, ``token``, ``tls/``.
    The job writes: ``job.log``, ``rendezvous.json`` (once the server answers), ``failure.json``
    (why it ends early, in words), ``ending.json`` (why it ends by itself though all is well),
    ``exit.json`` (the last thing, by ``job.sh``), ``dask/``
    (Dask's configuration for the session), ``facts.json`` (what the node is like, where the
    session is a check of the site), ``dask-state.json`` (how the cluster is, in words) and
    ``workers/`` (logs of the cluster's process, of worker jobs and of a batch's ranks).

    Where the laptop submits worker jobs, ``orders/`` holds what the two say to each other:
    ``list.json`` (what the session asks for), ``N.sh`` (what the jobs of its order N run), ``N/``
    (made by whoever is first: the login node that carries order N out, or the session that takes
    it back) and ``answers.json`` (the laptop's).

    Of a batch the laptop also writes ``batch.json`` (all that is needed to run it again) and, where
    it is sent along, the script below ``program/``; a script of the site is copied there by the
    job. ``hosts`` says where its ranks are, and ``ending.json`` holds the script's exit code,
    written before MPI is left.
    """

    SPEC = "session.json"
    SCRIPT = "job.sh"
    LOG = "job.log"
    TOKEN = "token"
    CA = "tls/ca.pem"
    JUPYTER_CERT = "tls/jupyter.pem"
    JUPYTER_KEY = "tls/jupyter.key"
    DASK_CERT = "tls/dask.pem"
    DASK_KEY = "tls/dask.key"
    JUPYTER_CONFIG = "jupyter_config.json"
    JUPYTER_RUNTIME = "runtime"
    RENDEZVOUS = "rendezvous.json"
    FAILURE = "failure.json"
    EXIT = "exit.json"
    FACTS = "facts.json"
    ENDING = "ending.json"
    DASK_CONFIG = "dask"
    DASK_FILE = "dask/hpclaunch.yaml"
    DASK_HANGUPS = "dask/hangups.py"
    DASK_SECRET = "dask/dashboard.secret"
    DASK_STATE = "dask-state.json"
    BATCH = "batch.json"
    PROGRAM = "program"
    HOSTS = "hosts"
    HOLDER_LOG = "workers/holder.log"
    WORKERS = "workers"
    ORDERS = "orders"
    ORDER_LIST = "orders/list.json"
    ANSWERS = "orders/answers.json"

    SECRETS = (TOKEN, JUPYTER_CONFIG, JUPYTER_RUNTIME, "tls", DASK_CONFIG)
    """What is removed when the session is over; logs and outcome stay."""
