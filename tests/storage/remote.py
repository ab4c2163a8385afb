"""Servers for the tests of remote files: S3 in a process of its own, and the web."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import xarray as xr
from botocore.config import Config

from tests.storage.same import differences

__all__ = ["BUCKET", "S3Server", "aged", "certificate", "open_remote", "unlike"]

BUCKET = "archive"


class S3Server:
    """moto's S3 server.

    Parameters
    ----------
    folder : Path
        For its log.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = folder / "s3.log"
        self.options: dict[str, Any] = {
            "key": "the-key",
            "secret": "the-very-secret",
            "endpoint_url": f"http://127.0.0.1:{self.port}",
        }

    @contextmanager
    def running(self) -> Any:
        """Start it, and stop it in the end."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                stdout=log,
                stderr=log,
            )
        try:
            self._wait(process)
            self.client = boto3.client(
                "s3",
                aws_access_key_id=self.options["key"],
                aws_secret_access_key=self.options["secret"],
                endpoint_url=self.options["endpoint_url"],
                region_name="us-east-1",
                config=Config(proxies={}),
            )
            self.client.create_bucket(Bucket=BUCKET)
            yield self
        finally:
            process.terminate()
            process.wait(30)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        for _ in range(600):
            assert process.poll() is None, self.log.read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(self.log.read_text())

    def put(self, path: Path, key: str | None = None) -> str:
        """Upload a file; its URL."""
        name = key or path.name
        self.client.put_object(Bucket=BUCKET, Key=name, Body=path.read_bytes())
        return f"s3://{BUCKET}/{name}"

    def asked(self, url: str) -> int:
        """Requests for an object so far."""
        path = url.removeprefix("s3://")
        return sum(f"GET /{path} " in line for line in self.log.read_text().splitlines())

    def check_keys(self, on: bool) -> None:
        """Whether it wants to know who asks."""
        count = b"0" if on else b"inf"
        url = f"{self.options['endpoint_url']}/moto-api/reset-auth"
        asked = urllib.request.Request(url, count, {"Content-Type": "text/plain"})
        urllib.request.urlopen(asked, timeout=30).close()


def certificate(folder: Path) -> Path:
    """A PEM file with a certificate for 127.0.0.1, signed by itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return pem


def aged(path: Path) -> Path:
    """A file that was not written a moment ago."""
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def open_remote(url: str, options: dict[str, Any] | None = None, **how: Any) -> xr.Dataset:
    """Open a URL by the engine under test."""
    more = {"backend_kwargs": {"storage_options": options}} if options else {}
    return xr.open_dataset(url, engine="hpclaunch", **more, **how)


def unlike(found: xr.Dataset, wanted: xr.Dataset) -> list[str]:
    """How a remote file's dataset differs from the local one, the file's name aside."""
    told = []
    for one in (found, wanted):
        one.encoding.pop("source", None)
        for variable in one.variables.values():
            variable.encoding.pop("source", None)
    told += differences(found, wanted)
    return told
