"""The coordinator's own latency per request: everything but the engine's time.

Against a running network (`make up` in another terminal):

    .venv/bin/python benchmarks/coordinator_latency.py --up .peerllm/up.json

Requests are sent one after the other; what is reported is the time the client waited minus the
winning host's time from dispatch to its last token, and the coordinator's own laps.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import httpx

QUESTIONS = (
    "Name three primary colours.",
    "What is the capital of France?",
    "Give me a synonym for happy.",
    "Write one sentence about the sea for Anna Becker in Hamburg.",
)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(up: dict[str, str], requests: int, tokens: int) -> None:
    headers = {"authorization": f"Bearer {up['api_key']}"}
    added: list[float] = []
    first: list[float] = []
    laps: dict[str, list[float]] = {}
    rates: list[float] = []
    with httpx.Client(base_url=up["base_url"], headers=headers, timeout=60) as client:
        for number in range(requests):
            question = QUESTIONS[number % len(QUESTIONS)]
            body = {
                "model": "smollm2-135m-instruct",
                "messages": [{"role": "user", "content": question}],
                "max_tokens": tokens,
                "temperature": 0,
            }
            began = time.perf_counter()
            answer = client.post("/chat/completions", json=body).json()
            waited = (time.perf_counter() - began) * 1000
            statement = client.get(f"/statements/{answer['id']}").json()
            (chunk,) = statement["chunks"]
            winner = next(host for host in chunk["hosts"] if host["won"])
            added.append(waited - winner["duration_ms"])
            first.append(winner["first_token_ms"])
            rates.append((winner["tokens_per_second_milli"] or 0) / 1000)
            for name, milliseconds in statement["coordinator_ms"].items():
                laps.setdefault(name, []).append(milliseconds)
    print(f"{requests} requests of up to {tokens} tokens, one after the other\n")
    print(f"{'':28}{'p50':>8}{'p95':>8}")
    rows = {"added by the coordinator, ms": added, "first token at the host, ms": first}
    rows |= {f"  {name}, ms": values for name, values in laps.items() if name != "serve"}
    for name, values in rows.items():
        print(f"{name:28}{statistics.median(values):8.1f}{percentile(values, 0.95):8.1f}")
    print(f"{'decode, tokens/s':28}{statistics.median(rates):8.1f}{percentile(rates, 0.05):8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--up", type=Path, default=Path(".peerllm/up.json"))
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=32)
    chosen = parser.parse_args()
    measure(json.loads(chosen.up.read_text()), chosen.requests, chosen.tokens)


if __name__ == "__main__":
    main()
