"""What a host sees of a prompt with identifiers, and what its customer gets back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from peerllm.charter.defaults import (
    FIRST_MODEL,
    FIRST_MODEL_SHA256,
    first_catalogue,
    first_standard,
    first_tariff,
    first_terms,
)
from peerllm.charter.store import found_network
from peerllm.cli.free_ports import free_ports
from peerllm.peer.engine_protocol import GenerationTask
from tests.network.tap import tapped_network

IDENTIFIERS = ("Maria Gonzalez", "Gonzalez", "maria.gonzalez@example.org", "202-555-0173")
PROMPT = (
    "Please write a short reply to Maria Gonzalez. Her e-mail address is "
    "maria.gonzalez@example.org and her phone number is +1 202-555-0173. "
    "Say that Mrs. Gonzalez may call back on Monday."
)


def recite(task: GenerationTask) -> str:
    return task.turns[-1].content


async def test_hosts_see_placeholders_and_the_customer_sees_originals(tmp_path: Path) -> None:
    charter = tmp_path / "charter"
    found_network(
        charter,
        terms=first_terms("tapped"),
        tariff=first_tariff(),
        catalogue=first_catalogue(),
        standard=first_standard(),
        steward_keys_directory=tmp_path / "stewards",
        now=datetime.now(UTC),
        expires=datetime.now(UTC) + timedelta(days=1),
    )
    port = free_ports(1)[0]
    network = tapped_network(
        tmp_path / "state", charter, bytes.fromhex(FIRST_MODEL_SHA256), port, recite
    )
    async with (
        network as (key, taps),
        httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=30) as client,
    ):
        response = await client.post(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            json={"model": FIRST_MODEL, "messages": [{"role": "user", "content": PROMPT}]},
        )
    assert response.status_code == 200, response.text
    seen = [turn.content for tap in taps for task in tap.tasks for turn in task.turns]
    assert len(seen) == 2, "both hosts of the race were asked"
    for content in seen:
        assert not [identifier for identifier in IDENTIFIERS if identifier in content]
        assert "PERSON_1" in content
        assert "EMAIL_1" in content
        assert "PHONE_1" in content
    assert response.json()["choices"][0]["message"]["content"] == PROMPT
