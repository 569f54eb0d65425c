"""Signed blobs: the exact bytes that were signed, kept beside their signature, never re-encoded."""

from typing import Annotated, Final

import msgspec

from peerllm.crypto.encoding import decode_canonical, encode
from peerllm.crypto.errors import DecodingError
from peerllm.crypto.identity import Identity, verify_signature

# Certificates and receipts are about 150 and 300 bytes; whoever sends more wants something else.
MAXIMUM_BLOB_BYTES: Final = 2048


class SignedBlob(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes and the Ed25519 signature over a domain tag and exactly these bytes."""

    body: Annotated[bytes, msgspec.Meta(max_length=MAXIMUM_BLOB_BYTES)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


def sign_blob(identity: Identity, domain: str, body: bytes) -> bytes:
    """Return the encoded SignedBlob of `body` for one signing domain."""
    return encode(SignedBlob(body=body, signature=identity.sign(domain, body)))


def read_blob(raw: bytes) -> SignedBlob | None:
    """Parse a signed blob without believing it; None when it is not one in canonical form."""
    try:
        return decode_canonical(raw, SignedBlob, maximum_bytes=MAXIMUM_BLOB_BYTES)
    except DecodingError:
        return None


def is_signed_by(blob: SignedBlob, peer_id: str, domain: str) -> bool:
    """Tell whether this peer signed the blob's body for this domain."""
    return verify_signature(peer_id, domain, blob.body, blob.signature)
