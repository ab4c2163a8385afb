"""The files of a make-believe site: its profile, and what a laptop needs to log in to it."""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import paramiko

__all__ = ["HOST", "environment", "known_hosts", "make_key", "profile", "ssh_config"]

HOST = "hpclaunch-demo"
"""The login node's name in the site's ssh configuration."""

_KEPT = ("LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH")
"""What a login takes over from this process's environment."""

_QUEUES = {"slurm": "compute", "pbs": "workq", "lsf": "normal"}

_PROFILE = """\
# A make-believe {name} site on this machine, made by `hpclaunch demo`.

name = "demo-{kind}"
description = "make-believe {name}: jobs are processes of this machine"

[login]
host = "{host}"
ssh_config = "ssh_config"        # beside this file

[scheduler]
kind = "{kind}"
default_queue = "{queue}"

[[queues]]
name = "{queue}"
max_walltime = "12:00:00"
max_nodes = 1

[environments.default]
python = {python}

[mpi]
launcher = [{launcher}]

[session]
walltime = "1:00:00"
memory = "1 GB"

[dask]
cores = 1
memory = "1 GB"
"""


def profile(kind: str, name: str) -> str:
    """The profile of a site whose environment is the one that runs this.

    Parameters
    ----------
    kind : {"slurm", "pbs", "lsf"}
    name : str
        The scheduler's name as people write it.
    """
    import tomlkit

    own = Path(sys.executable).with_name("mpiexec")
    return _PROFILE.format(
        kind=kind,
        name=name,
        host=HOST,
        queue=_QUEUES[kind],
        python=tomlkit.item(sys.executable).as_string(),
        launcher=tomlkit.item(str(own) if own.exists() else "mpiexec").as_string(),
    )


def ssh_config(folder: Path, user: str, port: int) -> str:
    """An ssh configuration that knows this site alone."""
    return f"""\
Host {HOST}
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile "{folder}/key"
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile "{folder}/known_hosts"
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
"""


def known_hosts(port: int, key: paramiko.PKey) -> str:
    """The line that vouches for the login node."""
    blob = base64.b64encode(key.asbytes()).decode()
    return f"[127.0.0.1]:{port} {key.get_name()} {blob}\n"


def make_key(file: Path | None = None) -> paramiko.PKey:
    """Make a key; the private half is written, 0600, where `file` is given."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    if file is not None:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(text)
    key: paramiko.PKey = paramiko.Ed25519Key.from_private_key(io.StringIO(text.decode()))
    return key


def environment(
    folder: Path, user: str, shell: str, surroundings: Mapping[str, str]
) -> dict[str, str]:
    """What a login finds: the scheduler's commands first on PATH, and a home of its own."""
    kept = {
        name: text for name, text in surroundings.items() if name in _KEPT or name.startswith("LC_")
    }
    return {
        **kept,
        "HOME": f"{folder}/home",
        "LOGNAME": user,
        "PATH": f"{folder}/bin:{surroundings.get('PATH', os.defpath)}",
        "SHELL": shell,
        "TMPDIR": f"{folder}/tmp",
        "USER": user,
    }
