"""Nothing of 200 prompts and their answers is left anywhere; and the hunt would find it."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from peerllm.cli.retention import Finding, find_content, needles_in
from tests.network.harness import MODEL, UpNetwork

REQUESTS = 200
# Enough to keep three hosts of four slots busy with races of two.
AT_ONCE = 6
# One request in four is shown an example first, which makes the small model repeat its canary:
# the others cost a third of the time.
WITH_EXAMPLE = 4


def canary(number: int, part: str = "prompt") -> str:
    """A word of no language, the same in every run: what the safety gate makes of it is known."""
    digest = hashlib.sha256(f"{part} {number}".encode()).digest()
    return f"canary{int.from_bytes(digest[:8], 'big') % 10**12:012}"


def ask(network: UpNetwork, number: int) -> tuple[str, str]:
    """Send a canary, a third of the time for a streamed answer; gives the canary and the answer."""
    planted = canary(number)
    messages = [{"role": "user", "content": planted}]
    repeated = number % WITH_EXAMPLE == 0
    if repeated:
        example = canary(number, "example")
        messages = [
            {"role": "user", "content": example},
            {"role": "assistant", "content": example},
            *messages,
        ]
    answer = network.client().chat.completions.create(
        model=MODEL,
        messages=messages,
        max_tokens=20 if repeated else 6,
        temperature=0,
        stream=number % 3 == 0,
    )
    if number % 3:
        return planted, answer.choices[0].message.content or ""
    return planted, "".join(event.choices[0].delta.content or "" for event in answer)


def hunt(network: UpNetwork, needles: list[str]) -> list[Finding]:
    texts = {
        "/metrics": httpx.get(f"{network.origin}/metrics").content,
        "terminal": network.output.read_bytes(),
    }
    return find_content(needles, network.data, texts)


def test_two_hundred_requests_leave_no_trace(network: UpNetwork) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda number: ask(network, number), range(REQUESTS)))
    assert len(results) == REQUESTS
    needles = [planted for planted, _ in results]
    needles += [needle for _, answer in results for needle in needles_in(answer)]
    # The model does repeat: answers hold canaries too, so that the hunt covers them as well.
    echoed = sum(planted in answer for planted, answer in results)
    assert echoed > REQUESTS // WITH_EXAMPLE // 2
    assert hunt(network, needles) == []


@pytest.mark.parametrize("log", ["coordinator.log", "host-1.log"])
def test_a_planted_log_line_is_found(network: UpNetwork, log: str) -> None:
    planted = canary(0, log)
    path = network.data / "logs" / log
    before = path.stat().st_size
    with path.open("a") as file:
        file.write(f'{{"event": "chunk_accepted", "prompt": "say {planted}"}}\n')
    try:
        found = hunt(network, [planted])
    finally:
        with path.open("r+") as file:
            file.truncate(before)
    assert found == [Finding(place=f"logs/{log}", form="utf-8")] or {
        finding.form for finding in found
    } >= {"utf-8"}
