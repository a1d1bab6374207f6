"""The page's TLS: keys and files of the config are checked before a machine is changed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stargaze.config import InfraSection
from stargaze.errors import ConfigError
from stargaze.infra.ansible.page_tls import NO_TLS, check_page_tls


def write_pair(folder: Path, *names: str, days: int = 30) -> tuple[str, str]:
    """Write a certificate for domain names and its key; return their paths."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(alternative, critical=False)
    start = now - dt.timedelta(days=60)
    signed = builder.not_valid_before(start).not_valid_after(now + dt.timedelta(days=days)).sign(key, hashes.SHA256())
    certificate, private = folder / f"{names[0]}{days}.pem", folder / f"{names[0]}{days}.key"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return str(certificate), str(private)


def section(**keys: object) -> InfraSection:
    return InfraSection(**{"page_domain": "stars.example.org", "tls": "own", **keys})  # type: ignore[arg-type]


def test_without_tls_nothing_is_needed() -> None:
    assert check_page_tls(InfraSection()) == NO_TLS


@pytest.mark.parametrize("name", ["stars.example.org", "*.example.org"])
def test_a_pair_for_the_domain_is_accepted(tmp_path: Path, name: str) -> None:
    certificate, key = write_pair(tmp_path, name)

    files = check_page_tls(section(tls_certificate=certificate, tls_key=key))

    assert (files.certificate, files.key, files.ca) == (certificate, key, "")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"page_domain": ""}, 'infra.tls = "own" needs infra.page_domain'),
        ({"tls_port": 80}, "infra.tls_port and infra.page_port are the same port"),
        ({}, 'infra.tls = "own" needs infra.tls_certificate'),
        ({"tls_certificate": "/nowhere"}, "infra.tls_certificate: /nowhere: no such file"),
        ({"tls": "acme", "page_port": 8000}, 'infra.tls = "acme" with a public directory needs infra.page_port = 80'),
    ],
)
def test_a_missing_key_or_file_is_named(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_page_tls(section(**keys))

    assert caught.value.message == message
    assert caught.value.hint


def test_a_pair_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    good, other = write_pair(tmp_path, "stars.example.org"), write_pair(tmp_path, "other.example.org")
    expired = write_pair(tmp_path, "stars.example.org", days=-1)
    (text := tmp_path / "text.pem").write_text("no PEM")
    cases = {
        (good[0], other[1]): "not the key of",
        other: "is for other.example.org, not for stars.example.org",
        expired: "only",
        (str(text), good[1]): "contains no certificate",
        (good[0], str(text)): "not a private key without a password",
    }

    for (certificate, key), message in cases.items():
        with pytest.raises(ConfigError, match=message):
            check_page_tls(section(tls_certificate=certificate, tls_key=key))
