"""What the network does with real work: long documents, and a leader that dies mid-answer."""

import json
import os
import signal
from typing import Any

from tests.network.harness import MODEL, UpNetwork

WORDS = 3_000


def long_text() -> str:
    """A document of 3,000 words whose sentences differ."""
    subjects = ("The harbour", "A teacher", "The river", "Our library", "The old mill")
    verbs = ("feeds", "remembers", "crosses", "repairs", "describes")
    objects = ("the northern market", "seven stone bridges", "a winter garden", "the long valley")
    sentences: list[str] = []
    while len(" ".join(sentences).split()) < WORDS:
        number = len(sentences)
        sentences.append(
            f"{subjects[number % 5]} {verbs[number // 5 % 5]} {objects[number // 25 % 4]} "
            f"for the {number}th time this century."
        )
    return " ".join(sentences)


def test_a_long_document_is_summarised_by_all_hosts_at_once(network: UpNetwork) -> None:
    answer = network.client().chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": f"Summarize the following text:\n\n{long_text()}"}],
        max_tokens=48,
        temperature=0,
    )
    assert answer.choices[0].message.content
    statement = network.statement(answer.id)
    kinds = [chunk["kind"] for chunk in statement["chunks"]]
    assert kinds.count("map") >= 3
    assert kinds[-1] == "reduce"
    parts = [chunk for chunk in statement["chunks"] if chunk["kind"] == "map"]
    hosts, at_once = most_at_once(parts)
    assert hosts == {host["peer_id"] for host in network.up["hosts"]}
    assert len(at_once) >= 3
    paid = statement["paid_nano_usd"]
    assert sum(paid.values()) == statement["host_share_nano_usd"]


def most_at_once(parts: list[dict[str, Any]]) -> tuple[set[str], set[int]]:
    """The hosts and the parts at work at the busiest moment, which begins when some run begins."""
    runs = [(host, part["index"]) for part in parts for host in part["hosts"]]
    moments = []
    for began, _ in runs:
        now = began["started_ms"]
        at_work = [
            (run["host"], index)
            for run, index in runs
            if run["started_ms"] <= now < run["started_ms"] + run["duration_ms"]
        ]
        moments.append(({host for host, _ in at_work}, {index for _, index in at_work}))
    return max(moments, key=lambda moment: (len(moment[0]), len(moment[1])))


def test_the_leader_dies_mid_answer(own_network: UpNetwork) -> None:
    network = own_network
    before = network.ledger()
    killed = ""
    text = ""
    request_id = ""
    stream = network.client().chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Tell a long story about a fox and a hen."}],
        max_tokens=300,
        temperature=0,
        stream=True,
    )
    finish = None
    for event in stream:
        request_id = event.id
        text += event.choices[0].delta.content or ""
        finish = event.choices[0].finish_reason or finish
        if not killed and text:
            killed = kill_leader(network)
    assert finish in ("stop", "length")
    assert len(text.split()) > 60
    statement = network.statement(request_id)
    (chunk,) = statement["chunks"]
    runs = {host["host"]: host for host in chunk["hosts"]}
    assert runs[killed]["failure"] == "host_lost"
    assert not runs[killed]["won"]
    assert statement["paid_nano_usd"][killed] == 0
    after = network.settled_ledger()
    assert after["settlements"] == before["settlements"] + 1
    assert after["balanced"]
    assert after["open_reservations"] == 0


def kill_leader(network: UpNetwork) -> str:
    """Kill the host that leads now; the coordinator's log says who that is."""
    lines = (network.data / "logs" / "coordinator.log").read_text().splitlines()
    leads = [event for event in map(json.loads, lines) if event["event"] == "leads"]
    leader = leads[-1]["host"]
    host = next(host for host in network.up["hosts"] if host["peer_id"] == leader)
    os.kill(host["pid"], signal.SIGKILL)
    return str(leader)
