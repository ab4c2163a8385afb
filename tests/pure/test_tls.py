"""A session's certificates: they open this session and nothing else, for the names they are for."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from hpclaunch.node.layout import JUPYTER_TLS_NAME, Layout
from hpclaunch.tls import make_credentials, verify_context

FILES = {
    Layout.CA,
    Layout.JUPYTER_CERT,
    Layout.JUPYTER_KEY,
    Layout.DASK_CERT,
    Layout.DASK_KEY,
}


@pytest.fixture(scope="module")
def ours() -> dict[str, bytes]:
    return make_credentials()


@pytest.fixture(scope="module")
def theirs() -> dict[str, bytes]:
    return make_credentials()


def certificate(credentials: dict[str, bytes], name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(credentials[name])


def context(
    credentials: dict[str, bytes], folder: Path, pair: str, *, server: bool
) -> ssl.SSLContext:
    """A context with one of the pairs, that trusts only its session's authority."""
    folder.mkdir(exist_ok=True)
    for name in FILES:
        (folder / Path(name).name).write_bytes(credentials[name])
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_verify_locations(folder / "ca.pem")
    made.load_cert_chain(folder / f"{pair}.pem", folder / f"{pair}.key")
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    return made


def shake(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = None
) -> ssl.SSLError | None:
    """Shake hands over a socket pair and say a word; the first error of either side, or None."""
    near, far = socket.socketpair()
    errors: list[Exception] = []

    def serve() -> None:
        try:
            with server.wrap_socket(far, server_side=True) as there:
                there.sendall(there.recv(5))
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname=name) as here:
            here.sendall(b"hello")
            assert here.recv(5) == b"hello"
    except OSError as error:
        errors.insert(0, error)
    finally:
        thread.join(timeout=10)
        near.close()
        far.close()
    return next((error for error in errors if isinstance(error, ssl.SSLError)), None)


def test_five_files_and_no_sixth(ours):
    assert set(ours) == FILES


def test_the_authoritys_key_is_nowhere(ours):
    """Nobody can issue another certificate for the session, not even we."""
    authority = certificate(ours, Layout.CA).public_key()
    keys = [
        serialization.load_pem_private_key(pem, password=None)
        for pem in ours.values()
        if b"PRIVATE KEY" in pem
    ]
    assert len(keys) == 2
    for key in keys:
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.public_key() != authority


@pytest.mark.parametrize(
    ("cert", "key"),
    [(Layout.JUPYTER_CERT, Layout.JUPYTER_KEY), (Layout.DASK_CERT, Layout.DASK_KEY)],
)
def test_a_certificate_belongs_to_its_key_and_to_the_authority(ours, theirs, cert, key):
    private = serialization.load_pem_private_key(ours[key], password=None)
    one, authority = certificate(ours, cert), certificate(ours, Layout.CA)
    assert one.public_key() == private.public_key()
    one.verify_directly_issued_by(authority)
    with pytest.raises(InvalidSignature):
        one.verify_directly_issued_by(certificate(theirs, Layout.CA))


def test_only_the_authority_may_sign(ours):
    for name, may in ((Layout.CA, True), (Layout.JUPYTER_CERT, False), (Layout.DASK_CERT, False)):
        basic = certificate(ours, name).extensions.get_extension_for_class(x509.BasicConstraints)
        assert (basic.value.ca, basic.critical) == (may, True)
    usage = certificate(ours, Layout.CA).extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.value.key_cert_sign and usage.critical
    assert not usage.value.digital_signature


@pytest.mark.parametrize(
    ("cert", "name", "usages"),
    [
        (Layout.JUPYTER_CERT, JUPYTER_TLS_NAME, {Usage.SERVER_AUTH}),
        (
            Layout.DASK_CERT,
            "dask.hpclaunch.invalid",
            {Usage.SERVER_AUTH, Usage.CLIENT_AUTH},
        ),
    ],
)
def test_a_certificate_is_for_its_name_and_use_only(ours, cert, name, usages):
    extensions = certificate(ours, cert).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [name]
    assert name.endswith(".invalid")  # RFC 2606: no such host can ever exist
    assert set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == usages


def test_certificates_live_longer_than_any_job_and_bear_clocks_that_differ(ours):
    now = datetime.now(UTC)
    for name in (Layout.CA, Layout.JUPYTER_CERT, Layout.DASK_CERT):
        one = certificate(ours, name)
        assert one.not_valid_before_utc < now - timedelta(hours=23)
        assert now + timedelta(days=30) < one.not_valid_after_utc < now + timedelta(days=41)


def test_no_two_sessions_share_anything(ours, theirs):
    assert all(ours[name] != theirs[name] for name in FILES)
    serials = [
        certificate(session, name).serial_number
        for session in (ours, theirs)
        for name in (Layout.CA, Layout.JUPYTER_CERT, Layout.DASK_CERT)
    ]
    assert len(set(serials)) == 6


# With OpenSSL


def test_the_laptop_reaches_jupyter_by_its_name_whatever_the_node_is_called(ours, tmp_path):
    server = context(ours, tmp_path / "s", "jupyter", server=True)
    server.verify_mode = ssl.CERT_NONE
    assert shake(server, verify_context(ours[Layout.CA]), JUPYTER_TLS_NAME) is None


@pytest.mark.parametrize("name", ["localhost", "dask.hpclaunch.invalid", "c1"])
def test_the_laptop_accepts_no_other_name(ours, tmp_path, name):
    server = context(ours, tmp_path / "s", "jupyter", server=True)
    server.verify_mode = ssl.CERT_NONE
    error = shake(server, verify_context(ours[Layout.CA]), name)
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert "ostname mismatch" in error.verify_message


def test_the_laptop_accepts_no_other_session_and_no_public_authority(ours, theirs, tmp_path):
    laptop = verify_context(ours[Layout.CA])
    assert len(laptop.get_ca_certs()) == 1
    assert laptop.check_hostname and laptop.verify_mode is ssl.CERT_REQUIRED
    assert laptop.minimum_version >= ssl.TLSVersion.TLSv1_2
    server = context(theirs, tmp_path / "s", "jupyter", server=True)
    server.verify_mode = ssl.CERT_NONE
    assert isinstance(shake(server, laptop, JUPYTER_TLS_NAME), ssl.SSLCertVerificationError)


def test_scheduler_and_workers_know_each_other(ours, tmp_path):
    """As distributed does: both ends show the same pair, and ask for the other's."""
    server = context(ours, tmp_path / "s", "dask", server=True)
    assert shake(server, context(ours, tmp_path / "c", "dask", server=False)) is None


def test_a_worker_of_another_session_is_refused_by_both_ends(ours, theirs, tmp_path):
    server = context(ours, tmp_path / "s", "dask", server=True)
    client = context(theirs, tmp_path / "c", "dask", server=False)
    assert shake(server, client) is not None
    client.load_verify_locations(cadata=ours[Layout.CA].decode())
    assert shake(server, client) is not None  # the server refuses, though the client would not


def test_a_worker_without_a_certificate_is_refused(ours, tmp_path):
    server = context(ours, tmp_path / "s", "dask", server=True)
    client = verify_context(ours[Layout.CA])
    client.check_hostname = False
    assert shake(server, client) is not None


def test_jupyters_pair_opens_no_dask(ours, tmp_path):
    """It is no client: who steals it from Jupyter's process cannot join the cluster."""
    server = context(ours, tmp_path / "s", "dask", server=True)
    client = context(ours, tmp_path / "c", "jupyter", server=False)
    assert shake(server, client) is not None
