"""Locked quotes: given to one account, honoured after a tariff change, never exceeded."""

import json
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_host import NOW_US
from toy_house import ADA, ToyHouse, toy_house

from peerllm.charter.defaults import first_tariff
from peerllm.charter.tariff import TokenPrice
from peerllm.charter.tariff_rule import DAY_US, next_tariff
from peerllm.coordinator.price_list import PriceList, lower_price
from peerllm.coordinator.quotes import QUOTE_DOMAIN, Quote, QuoteRefused, Quotes
from peerllm.coordinator.settlement import charge_of
from peerllm.crypto.encoding import encode
from peerllm.crypto.identity import Identity
from peerllm.crypto.signed import sign_blob

IDENTITY = Identity.from_seed(bytes(32))
QUOTE = Quote(
    id=bytes(16),
    account=ADA,
    model="toy",
    tier="standard",
    tariff_version=1,
    input_nano_usd_per_million=10_000_000,
    output_nano_usd_per_million=40_000_000,
    issued_at_us=NOW_US,
    expires_at_us=NOW_US + 30 * DAY_US,
)
# The same tariff with electricity dearer: 5% more from tomorrow on.
DEARER = next_tariff(first_tariff(), {"electricity": 112_500}, NOW_US + DAY_US)


class Clock:
    def __init__(self) -> None:
        self.now = NOW_US

    def __call__(self) -> int:
        return self.now


def quotes(clock: Clock, identity: Identity = IDENTITY) -> Quotes:
    return Quotes(identity, now_us=clock, random_bytes=bytes)


def signed(quote: Quote, identity: Identity = IDENTITY, domain: str = QUOTE_DOMAIN) -> str:
    return urlsafe_b64encode(sign_blob(identity, domain, encode(quote))).decode()


def test_a_quote_comes_back_as_it_was_signed() -> None:
    desk = quotes(Clock())
    assert desk.read(desk.sign(QUOTE), account=ADA, model="toy") == QUOTE


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "unreadable"),
        ("hello", "unreadable"),
        ("é", "unreadable"),
        ("A" * 1_024, "unreadable"),
        (signed(QUOTE)[:-8], "unreadable"),
        (signed(QUOTE, Identity.from_seed(b"x" * 32)), "forged"),
        (signed(QUOTE, domain="receipt/1"), "forged"),
        (signed(msgspec.structs.replace(QUOTE, expires_at_us=NOW_US)), "expired"),
        (signed(msgspec.structs.replace(QUOTE, account="customers/eve")), "another_account"),
        (signed(msgspec.structs.replace(QUOTE, model="large")), "another_model"),
    ],
)
def test_a_quote_that_does_not_hold_says_why(text: str, fault: str) -> None:
    found = quotes(Clock()).read(text, account=ADA, model="toy")
    assert isinstance(found, QuoteRefused)
    assert found.fault == fault
    assert found.sentence.endswith(".")


@settings(max_examples=60)
@given(st.data())
def test_an_altered_quote_is_refused_or_the_same(data: st.DataObject) -> None:
    text = bytearray(signed(QUOTE).encode())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 127))
    found = quotes(Clock()).read(text.decode(), account=ADA, model="toy")
    assert found == QUOTE or isinstance(found, QuoteRefused)


amounts = st.integers(0, 10**10)
tokens = st.integers(0, 100_000)


@settings(max_examples=100)
@given(amounts, amounts, amounts, amounts, tokens, tokens, tokens, tokens)
def test_no_price_is_above_its_quote(  # noqa: PLR0917
    a: int, b: int, c: int, d: int, prompt: int, completion: int, more: int, longer: int
) -> None:
    """Whatever the tariff did meanwhile, and for a quote of at least as many tokens."""
    quote = msgspec.structs.replace(
        QUOTE, input_nano_usd_per_million=a, output_nano_usd_per_million=b
    )
    today = TokenPrice(input_nano_usd_per_million=c, output_nano_usd_per_million=d)
    charged = charge_of(
        lower_price(today, quote), prompt_tokens=prompt, completion_tokens=completion
    )
    assert charged <= charge_of(
        quote, prompt_tokens=prompt + more, completion_tokens=completion + longer
    )
    assert charged <= charge_of(today, prompt_tokens=prompt, completion_tokens=completion)


def priced(clock: Clock) -> dict[str, Any]:
    return {
        "price_list": PriceList(
            DEARER, {"toy": "small"}, minimum_host_share_basis_points=9_500, now_us=clock
        ),
        "quotes": quotes(clock),
    }


async def ask(toy: ToyHouse, **fields: Any) -> Any:
    reply = await toy.chat(max_tokens=20, **fields)
    assert reply.status == 200, reply.body
    return (await toy.call("GET", f"/v1/statements/{reply.json['id']}")).json


async def test_a_quote_is_honoured_after_the_tariff_changed_until_it_expires(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with toy_house(tmp_path, replaced=priced(clock)) as toy:
        toy.host("h1")
        toy.host("h2")
        body = {"model": "toy", "input_tokens": 100, "output_tokens": 20}
        given_quote = (await toy.call("POST", "/v1/peerllm/quotes", json.dumps(body).encode())).json
        assert given_quote["upper_bound_nano_usd"] == 100 * 10 + 20 * 40
        assert given_quote["tariff_version"] == 1
        before = await ask(toy)
        clock.now += 2 * DAY_US
        after = await ask(toy)
        locked = await ask(toy, peerllm={"quote": given_quote["quote"]})
        assert (before["tariff_version"], after["tariff_version"]) == (1, 2)
        assert after["charge_nano_usd"] == before["charge_nano_usd"] * 105 // 100
        assert locked["charge_nano_usd"] == before["charge_nano_usd"]
        assert locked["charge_nano_usd"] <= given_quote["upper_bound_nano_usd"]
        assert (locked["quote_id"], before["quote_id"]) == (given_quote["id"], None)
        clock.now = given_quote["expires_at"] * 1_000_000
        refused = await toy.chat(peerllm={"quote": given_quote["quote"]})
        assert refused.status == 400
        assert refused.error["code"] == "quote_expired"
        assert refused.error["param"] == "peerllm.quote"


async def test_a_quote_is_for_its_own_account_and_for_models_that_are_served(
    tmp_path: Path,
) -> None:
    async with toy_house(tmp_path, replaced=priced(Clock())) as toy:
        await toy.storage.create_customer("eve")
        eve = (await toy.storage.create_api_key("customers/eve", "laptop")).plain
        path, body = "/v1/peerllm/quotes", b'{"model": "toy"}'
        given_quote = (await toy.call("POST", path, body)).json
        assert given_quote["upper_bound_nano_usd"] is None
        refused = await toy.chat(key=eve, peerllm={"quote": given_quote["quote"]})
        assert (refused.status, refused.error["code"]) == (400, "quote_another_account")
        for wrong, status in (
            (b"", 400),
            (b"[]", 400),
            (b'{"model": "toy", "input_tokens": -1}', 400),
            (b'{"model": "gpt"}', 404),
            (b'{"model": "toy", "tier": "enterprise"}', 400),
        ):
            assert (await toy.call("POST", path, wrong)).status == status
        assert (await toy.call("POST", path, body, key="")).status == 401


async def test_enterprise_pays_its_hosts_more_out_of_its_own_charges(tmp_path: Path) -> None:
    async with toy_house(tmp_path, replaced=priced(Clock())) as toy:
        toy.host("h1")
        toy.host("h2")
        first = await ask(toy)
        await toy.storage.set_price_tier(ADA, "enterprise")
        dear = await ask(toy)
        await toy.storage.set_price_tier(ADA, "standard")
        again = await ask(toy)
        assert (dear["tier"], again["tier"]) == ("enterprise", "standard")
        assert dear["charge_nano_usd"] == first["charge_nano_usd"] * 125 // 100
        assert dear["host_share_nano_usd"] * 100 >= dear["charge_nano_usd"] * 96
        # The others' pool is what it was: 95% of their own charge.
        assert again["host_share_nano_usd"] == first["host_share_nano_usd"]
        for one in (first, dear, again):
            whole = one["host_share_nano_usd"] + one["margin_nano_usd"]
            assert whole == one["charge_nano_usd"]
            paid = sum(one["paid_nano_usd"].values()) + one["unclaimed_nano_usd"]
            assert paid == one["host_share_nano_usd"]


async def test_a_tier_that_the_tariff_does_not_have_serves_nothing(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("h1")
        await toy.storage.set_price_tier(ADA, "gold")
        assert (await toy.chat()).error["code"] == "model_not_found"
        assert (await toy.call("GET", "/v1/models")).json["data"] == []
