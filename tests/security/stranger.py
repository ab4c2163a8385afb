"""Other users: mallory on the nodes of the cluster, and somebody else on the laptop."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.cluster import inside

INTRUDER = Path(__file__).with_name("intruder.py").read_bytes()
NOBODY = 65534
SITE_PYTHON = "/opt/site-env/bin/python"  # the environment of the site is everybody's
PLAIN_PYTHON = "/usr/bin/python3"
# In no argv, where watchers would find the words that they look for.
_READING = ("-I", "-c", "import sys; exec(sys.stdin.buffer.read(int(sys.argv[1])))")


@dataclass(frozen=True)
class User:
    """A user on a machine: ``"c1"`` and the like are the cluster's, ``"laptop"`` is this one."""

    name: str
    machine: str

    def __str__(self) -> str:
        return f"{self.name}-on-{self.machine}"

    def tries(self, attack: str, **arguments: Any) -> Any:
        """What came of an attack of `intruder`, tried once."""
        with self.trying(attack, **arguments) as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == 0, f"{self} could not even try {attack}: {err.decode()}"
        return json.loads(out)

    @contextlib.contextmanager
    def trying(self, attack: str, **arguments: Any) -> Iterator[subprocess.Popen[bytes]]:
        """The process of an attack that goes on meanwhile, some until their stdin is closed."""
        plan = json.dumps({"try": attack, **arguments})
        script = INTRUDER + f"\nmain({plan!r})\n".encode()
        process = subprocess.Popen(
            self._argv(attack, len(script)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **self._options(),
        )
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # its stderr says why it did not listen
                process.stdin.write(script)
                process.stdin.flush()
            yield process
        finally:
            process.kill()
            process.wait()

    def runs(self, *argv: str) -> subprocess.CompletedProcess[bytes]:
        """A command of the user's."""
        if self.machine != "laptop":
            argv = (*inside(self.machine), "runuser", "-u", self.name, "--", *argv)
        return subprocess.run(argv, capture_output=True, timeout=60, **self._options())

    def _argv(self, attack: str, size: int) -> list[str]:
        if self.machine == "laptop":
            # The checkout may lie where only its owner can go.
            python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or "python3"
            return [python, *_READING, str(size)]
        python = SITE_PYTHON if attack in ("dask", "kernels") else PLAIN_PYTHON
        who = ("runuser", "-u", self.name, "--")
        return [*inside(self.machine), *who, python, *_READING, str(size)]

    def _options(self) -> dict[str, Any]:
        if self.machine != "laptop":
            return {}
        return {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}


MALLORY_ON_LOGIN = User("mallory", "login")
MALLORY_ON_C1 = User("mallory", "c1")
MALLORY_ON_C2 = User("mallory", "c2")
MALLORYS = [MALLORY_ON_LOGIN, MALLORY_ON_C1, MALLORY_ON_C2]
SOMEBODY_ON_LAPTOP = User("somebody", "laptop")
