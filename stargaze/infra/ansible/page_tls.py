"""The TLS settings of the page, checked before the proxy gets them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from stargaze.config import InfraSection
from stargaze.errors import ConfigError
from stargaze.system.files import convert_disk_errors

HTTP_PORT = 80
"""Public ACME directories ask for the challenge at this port."""


@dataclass(frozen=True)
class TlsFiles:
    """Local files that the proxy gets; empty where there is none."""

    certificate: str = ""
    key: str = ""
    ca: str = ""


NO_TLS = TlsFiles()


def check_page_tls(section: InfraSection) -> TlsFiles:
    """Return the files of the page's TLS; ConfigError if a key of the config is missing or a file does not fit."""
    if section.tls == "off":
        return NO_TLS
    if not section.page_domain:
        raise ConfigError(
            f'infra.tls = "{section.tls}" needs infra.page_domain', hint='page_domain = "stars.example.org"'
        )
    if section.tls_port == section.page_port:
        raise ConfigError("infra.tls_port and infra.page_port are the same port", hint="tls_port = 443, page_port = 80")
    ca = _existing(section.tls_ca, "tls_ca") if section.tls_ca else ""
    if ca:
        _read_certificates(ca, "tls_ca")
    if section.tls == "acme":
        if section.page_port != HTTP_PORT and section.acme_directory == InfraSection().acme_directory:
            hint = f"page_port = {HTTP_PORT}: the directory asks there for the page's proof"
            raise ConfigError('infra.tls = "acme" with a public directory needs infra.page_port = 80', hint=hint)
        return TlsFiles(ca=ca)
    certificate, key = _existing(section.tls_certificate, "tls_certificate"), _existing(section.tls_key, "tls_key")
    _check_certificate(certificate, key, section.page_domain)
    return TlsFiles(certificate, key, ca)


def _existing(path: str, name: str) -> str:
    if not path:
        raise ConfigError(f'infra.tls = "own" needs infra.{name}', hint=f'{name} = "/path/to/file.pem"')
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"infra.{name}: {path}: no such file", hint=f'{name} = "/path/to/file.pem"')
    return str(file.resolve())


def _read_certificates(path: str, name: str) -> list[x509.Certificate]:
    with convert_disk_errors(Path(path)):
        content = Path(path).read_bytes()
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise ConfigError(
            f"infra.{name}: {path}: contains no certificate", hint="it begins with BEGIN CERTIFICATE"
        ) from error


def _check_certificate(certificate: str, key: str, domain: str) -> None:
    """Check that the certificate belongs to the key and to the domain, and is valid now."""
    first = _read_certificates(certificate, "tls_certificate")[0]
    with convert_disk_errors(Path(key)):
        content = Path(key).read_bytes()
    try:
        private = load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"infra.tls_key: {key}: not a private key without a password", hint="PEM format") from error
    if private.public_key() != first.public_key():
        raise ConfigError(f"infra.tls_key: {key}: not the key of {certificate}", hint="use the pair of both")
    now = dt.datetime.now(dt.UTC)
    if not first.not_valid_before_utc <= now <= first.not_valid_after_utc:
        dates = f"{first.not_valid_before_utc:%Y-%m-%d} to {first.not_valid_after_utc:%Y-%m-%d}"
        raise ConfigError(f"infra.tls_certificate: {certificate}: valid from {dates} only", hint="renew it")
    names = _domain_names(first)
    if not {domain, f"*.{domain.partition('.')[2]}"} & set(names):
        shown = ", ".join(names) or "no name"
        raise ConfigError(
            f"infra.tls_certificate: {certificate}: is for {shown}, not for {domain}", hint="infra.page_domain"
        )


def _domain_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]
