"""The other side of the cross-check of DSSE envelopes: PyPI securesystemslib.

    check.py verify ENVELOPE THRESHOLD PUBLIC_KEY...   exit 0 when it accepts, 1 when it refuses
    check.py sign PAYLOAD SEED_HEX...                  writes an envelope to standard output

Public keys are PEM files. Key ids are those of our format: SHA-256 of the SPKI DER.
"""

import hashlib
import json
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey


def named(public):
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return SSlibKey.from_crypto(public, keyid=hashlib.sha256(der).hexdigest())


def verify(envelope, threshold, *keys):
    with open(envelope, "rb") as file:
        read = Envelope.from_dict(json.load(file))
    publics = []
    for key in keys:
        with open(key, "rb") as file:
            publics.append(named(load_pem_public_key(file.read())))
    try:
        accepted = read.verify(publics, int(threshold))
    except VerificationError as error:
        sys.exit(f"refused: {error}")
    statement = json.loads(read.payload)
    print(statement["_type"], statement["predicateType"], *sorted(accepted))


def sign(payload, *seeds):
    with open(payload, "rb") as file:
        envelope = Envelope(file.read(), "application/vnd.in-toto+json", {})
    for seed in seeds:
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
        envelope.sign(CryptoSigner(private, named(private.public_key())))
    json.dump(envelope.to_dict(), sys.stdout)


{"verify": verify, "sign": sign}[sys.argv[1]](*sys.argv[2:])
