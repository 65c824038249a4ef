"""Creates certificates that are not valid now, which `specthink certs` cannot do."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization


def with_times(authority, host, begins_hours, ends_hours):
    """Returns a certificate for a host as PEM, signed by the same authority, which begins and ends this many hours from
    now."""
    key = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), password=None)
    old = x509.load_pem_x509_certificate((authority / f"{host}.pem").read_bytes())
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(hours=begins_hours))
        .not_valid_after(now + datetime.timedelta(hours=ends_hours))
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
