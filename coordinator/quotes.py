"""Locked quotes: prices that the coordinator has signed for one account, good until they expire."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from peerllm.charter.spelling import ModelName, Name, Version
from peerllm.charter.tariff import EpochUs, NanoUsdPerMillion
from peerllm.crypto.encoding import decode_canonical, encode
from peerllm.crypto.errors import DecodingError
from peerllm.crypto.identity import Identity
from peerllm.crypto.signed import MAXIMUM_BLOB_BYTES, is_signed_by, read_blob, sign_blob

QUOTE_DOMAIN: Final = "price-quote/1"
# A signed quote takes some 350 bytes, 470 characters; whoever sends more wants something else.
MAXIMUM_QUOTE_CHARACTERS: Final = 1_024

QuoteFault = Literal["unreadable", "forged", "expired", "another_account", "another_model"]


class Quote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is signed: the most that this account pays for this model until `expires_at_us`."""

    id: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    account: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    model: ModelName
    tier: Name
    tariff_version: Version
    input_nano_usd_per_million: NanoUsdPerMillion
    output_nano_usd_per_million: NanoUsdPerMillion
    issued_at_us: EpochUs
    expires_at_us: EpochUs


@dataclass(frozen=True, slots=True)
class QuoteRefused:
    """The quote does not hold, and why."""

    fault: QuoteFault

    @property
    def sentence(self) -> str:
        """What to tell its bearer."""
        return {
            "unreadable": "This is no quote: send the text of 'quote' as it was given.",
            "forged": "This quote was not signed by this coordinator.",
            "expired": "This quote has expired; ask for a new one.",
            "another_account": "This quote was given to another account.",
            "another_model": "This quote is for another model than the request asks.",
        }[self.fault]


class Quotes:
    """Signs quotes and reads them again; nothing is kept of them."""

    def __init__(
        self,
        identity: Identity,
        *,
        now_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._identity = identity
        self._now_us = now_us
        self._random_bytes = random_bytes

    def new_id(self) -> bytes:
        """A fresh quote's id."""
        return self._random_bytes(16)

    def now_us(self) -> int:
        """The clock that quotes expire by."""
        return self._now_us()

    def sign(self, quote: Quote) -> str:
        """Return the text that the customer sends with its requests."""
        return urlsafe_b64encode(sign_blob(self._identity, QUOTE_DOMAIN, encode(quote))).decode()

    def read(self, text: str, *, account: str, model: str) -> Quote | QuoteRefused:
        """Believe a quote if this coordinator signed it and it holds here and now."""
        try:
            raw = urlsafe_b64decode(text.encode("ascii"))
        except (ValueError, Base64Error):
            return QuoteRefused("unreadable")
        blob = read_blob(raw)
        if blob is None or len(text) > MAXIMUM_QUOTE_CHARACTERS:
            return QuoteRefused("unreadable")
        if not is_signed_by(blob, self._identity.peer_id, QUOTE_DOMAIN):
            return QuoteRefused("forged")
        try:
            quote = decode_canonical(blob.body, Quote, maximum_bytes=MAXIMUM_BLOB_BYTES)
        except DecodingError:
            return QuoteRefused("unreadable")
        if self._now_us() >= quote.expires_at_us:
            return QuoteRefused("expired")
        if quote.account != account:
            return QuoteRefused("another_account")
        if quote.model != model:
            return QuoteRefused("another_model")
        return quote
