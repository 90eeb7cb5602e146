"""Makes what the estate names by path: a certificate of an app, and the key of somebody whom another app trusts."""

import datetime
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

work = Path(sys.argv[1])


def private(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


app = rsa.generate_private_key(public_exponent=65537, key_size=2048)
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "strangers")])
now = datetime.datetime.now(datetime.timezone.utc)
certificate = (
    x509.CertificateBuilder()
    .subject_name(name)
    .issuer_name(name)
    .public_key(app.public_key())
    .serial_number(x509.random_serial_number())
    .not_valid_before(now - datetime.timedelta(days=1))
    .not_valid_after(now + datetime.timedelta(days=30))
    .sign(app, hashes.SHA256())
)
pem = certificate.public_bytes(serialization.Encoding.PEM)
(work / "app.crt").write_bytes(pem)
(work / "app.pem").write_bytes(private(app) + pem)

issuer = rsa.generate_private_key(public_exponent=65537, key_size=2048)
(work / "issuer.key").write_bytes(private(issuer))
(work / "issuer.pub").write_bytes(
    issuer.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
)
