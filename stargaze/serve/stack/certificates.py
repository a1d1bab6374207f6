"""Certificates of the backing services: a CA for each version of the secrets, whose key is stored nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALIDITY = timedelta(days=3650)
CLOCK_TOLERANCE = timedelta(days=1)
"""A node whose clock is behind accepts them too."""


@dataclass(frozen=True)
class Certificates:
    """The CA's certificate, and certificate and key of each service, as PEM."""

    ca: bytes
    certificates: Mapping[str, bytes]
    keys: Mapping[str, bytes]


def issue_certificates(common_name: str, host_names: Mapping[str, Sequence[str]]) -> Certificates:
    """Return a new CA and a certificate for each service with its host names."""
    ca_key, ca_name = ec.generate_private_key(ec.SECP256R1()), _name(common_name)
    ca_builder = _builder(ca_name, ca_name, ca_key.public_key(), ca_key.public_key())
    ca_builder = ca_builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    ca = ca_builder.add_extension(_key_usage(is_ca=True), critical=True).sign(ca_key, SHA256())
    certificates, keys = {}, {}
    for service, names in host_names.items():
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(f"{common_name} {service}"), ca_name, key.public_key(), ca_key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(is_ca=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        certificates[service] = _pem(builder.add_extension(alternatives, critical=False).sign(ca_key, SHA256()))
        keys[service] = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Certificates(_pem(ca), certificates, keys)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, issuer_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - CLOCK_TOLERANCE).not_valid_after(now + VALIDITY)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
