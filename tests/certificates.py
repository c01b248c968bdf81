"""Certificates for TLS in tests: an issuer, and certificates that it signs."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID_DAYS = 30


class Issuer:
    """A certificate authority; `certificate` is its file."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._key, self._name = directory, ec.generate_private_key(ec.SECP256R1()), _build_name(name)
        self.certificate = directory / f"{name}.crt"
        builder = self._build(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=True)
        usage = {name: name in {"key_cert_sign", "crl_sign"} for name in _KEY_USAGES}
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
        self._write(self.certificate, builder)

    def issue(self, name: str, *hosts: str) -> tuple[Path, Path]:
        """Issue a certificate for a server with these host names, or for a client; return its file and its key's."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._build(_build_name(name), key)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate, key_file = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        self._write(certificate, builder)
        key_file.touch(mode=0o600)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        key_file.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        return certificate, key_file

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)

    def _write(self, file: Path, builder: x509.CertificateBuilder) -> None:
        certificate = builder.sign(self._key, hashes.SHA256())
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


_KEY_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def _build_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
