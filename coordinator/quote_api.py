"""`POST /v1/peerllm/quotes`: a price that is locked for the account that asks."""

from typing import Annotated

import msgspec

from peerllm.coordinator import api_errors
from peerllm.coordinator.accounts import ApiKey
from peerllm.coordinator.api_errors import ApiError
from peerllm.coordinator.errors import LedgerError
from peerllm.coordinator.house import House
from peerllm.coordinator.quotes import Quote
from peerllm.coordinator.settlement import charge_of

# As many as the longest context that a catalogue may name.
Tokens = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]


class QuoteBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be asked: a model, and the tokens to give the upper bound for."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None


class GivenQuote(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. `quote` is what a request sends as `peerllm.quote`; times in epoch seconds."""

    object: str = "peerllm.quote"
    id: str
    quote: str
    model: str
    tier: str
    tariff_version: int
    input_nano_usd_per_million: int
    output_nano_usd_per_million: int
    created: int
    expires_at: int
    upper_bound_nano_usd: int | None


_decoder = msgspec.json.Decoder(QuoteBody)


def give_quote(raw: bytes, key: ApiKey, house: House) -> GivenQuote | ApiError:
    """Sign a quote for the account at today's price."""
    try:
        body = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return api_errors.invalid_request(
            "The body must be a JSON object with 'model' and, if you like, 'input_tokens' and"
            " 'output_tokens' from 0 to 10000000."
        )
    offer = house.price_list.offer(body.model, key.price_tier)
    if body.model not in house.models or offer is None:
        return api_errors.unknown_model(body.model)
    now = house.quotes.now_us()
    quote = Quote(
        id=house.quotes.new_id(),
        account=key.account,
        model=body.model,
        tier=offer.tier,
        tariff_version=offer.tariff_version,
        input_nano_usd_per_million=offer.price.input_nano_usd_per_million,
        output_nano_usd_per_million=offer.price.output_nano_usd_per_million,
        issued_at_us=now,
        expires_at_us=now + house.price_list.quote_lifetime_us,
    )
    try:
        bound = _bound(quote, body)
    except LedgerError:
        return api_errors.invalid_request("That many tokens cost more than one request may.")
    return GivenQuote(
        id=quote.id.hex(),
        quote=house.quotes.sign(quote),
        model=quote.model,
        tier=quote.tier,
        tariff_version=quote.tariff_version,
        input_nano_usd_per_million=quote.input_nano_usd_per_million,
        output_nano_usd_per_million=quote.output_nano_usd_per_million,
        created=quote.issued_at_us // 1_000_000,
        expires_at=quote.expires_at_us // 1_000_000,
        upper_bound_nano_usd=bound,
    )


def _bound(quote: Quote, body: QuoteBody) -> int | None:
    if body.input_tokens is None and body.output_tokens is None:
        return None
    return charge_of(
        quote, prompt_tokens=body.input_tokens or 0, completion_tokens=body.output_tokens or 0
    )
