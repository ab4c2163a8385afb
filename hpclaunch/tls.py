"""A session's own certificates: one authority, one pair for Jupyter, one pair for Dask.

They are made on the laptop, before anything is submitted. The authority's private key is never
written anywhere: after these functions return nobody can issue another certificate of the kind.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hpclaunch.node.layout import JUPYTER_TLS_NAME, Layout

__all__ = ["make_credentials", "make_dask_credentials", "verify_context"]

_LIFE = timedelta(days=40)  # longer than the longest queue wait and walltime together
_SKEW = timedelta(days=1)  # clocks of laptops and nodes differ


@dataclass(frozen=True)
class _Pair:
    """A certificate and its key, by their paths, for one name; servers', and maybe clients' too."""

    certificate: str
    key: str
    dns_name: str
    for_clients: bool


_JUPYTER = _Pair(Layout.JUPYTER_CERT, Layout.JUPYTER_KEY, JUPYTER_TLS_NAME, False)
_DASK = _Pair(Layout.DASK_CERT, Layout.DASK_KEY, "dask.hpclaunch.invalid", True)


def make_credentials() -> dict[str, bytes]:
    """Make a session's certificates and keys.

    Returns
    -------
    dict of str to bytes
        PEM files by their path below the session directory (see `Layout`): the authority's
        certificate, and certificate and key of Jupyter and of Dask. Keys are NIST P-256.
    """
    return _issue("hpclaunch session", datetime.now(UTC) + _LIFE, (_JUPYTER, _DASK))


def make_dask_credentials(ends: datetime) -> dict[str, bytes]:
    """Make certificates and key for Dask alone.

    Parameters
    ----------
    ends : datetime
        When they end; with a time zone.

    Returns
    -------
    dict of str to bytes
        As `make_credentials` returns them, without Jupyter's.
    """
    return _issue("hpclaunch export", ends, (_DASK,))


def _issue(authority_name: str, ends: datetime, pairs: Sequence[_Pair]) -> dict[str, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.now(UTC)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(authority_name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(ends)
        )

    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = (
        builder(authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(False, False, False, False, False, True, False, False, False),
            critical=True,
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )

    servers, clients = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    found = {Layout.CA: authority.public_bytes(serialization.Encoding.PEM)}
    for pair in pairs:
        usages = [servers, clients] if pair.for_clients else [servers]
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            builder(pair.dns_name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(pair.dns_name)]), critical=False
            )
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
                critical=False,
            )
            .sign(authority_key, hashes.SHA256())
        )
        found[pair.certificate] = certificate.public_bytes(serialization.Encoding.PEM)
        found[pair.key] = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    return found


def verify_context(ca_pem: bytes) -> ssl.SSLContext:
    """Return a client context that trusts this session's authority and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_pem.decode("ascii"))
    return context
