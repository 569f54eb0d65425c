"""What a host spends on a chunk beside its engine: opening, sealing, signing.

    .venv/bin/python benchmarks/host_overhead.py [--chunks 200] [--tokens 128] [--at-once 8]

The engine is synthetic, so every microsecond of processor time is the host's own. At a set rate
(`--rate`, tokens a second of each answer) the daemon seals token by token, as it does for a real
engine; without one it seals 32 tokens at a time, as fast as it can.
"""

import argparse
import math
import time

import trio
from synthetic_engine import Pace, SyntheticEngine

from peerllm.crypto.certificate import SealingKey
from peerllm.crypto.encoding import encode
from peerllm.crypto.envelope import EnvelopeBinding, seal
from peerllm.crypto.identity import Identity
from peerllm.overlay.messages import ChatMessage, ChunkTask, Dispatch, HostMessage, Piece, to_bytes
from peerllm.peer.work import Workplace, perform

DIGEST = bytes(32)
LIFE_US = 600 * 1_000_000
PROMPT = "Tell a long story about the sea. " * 20


def now_us() -> int:
    return time.time_ns() // 1000


def dispatch(number: int, host: Identity, key: SealingKey, tokens: int) -> Dispatch:
    binding = EnvelopeBinding(
        dispatch_id=number.to_bytes(16, "big"),
        host=host.peer_id,
        model_digest=DIGEST,
        expires_at_us=now_us() + LIFE_US,
        seed=number,
    )
    task = ChunkTask(
        messages=[ChatMessage(role="user", content=PROMPT)],
        max_tokens=tokens,
        temperature_milli=0,
        top_p_milli=1000,
        stop=[],
        assistant_prefix="",
        reply_key=number.to_bytes(32, "big"),
    )
    return Dispatch(
        dispatch_id=binding.dispatch_id,
        model_digest=DIGEST,
        expires_at_us=binding.expires_at_us,
        seed=number,
        nonce=bytes(16),
        deadline_us=LIFE_US,
        envelope=seal(binding, key.public_bytes, encode(task)),
    )


async def measure(chunks: int, tokens: int, at_once: int, rate: float) -> None:
    host, key = Identity.from_seed(b"h" * 32), SealingKey.generate()
    sent = {"messages": 0, "pieces": 0, "bytes": 0}

    async def send(message: HostMessage) -> None:
        sent["messages"] += 1
        sent["pieces"] += isinstance(message, Piece)
        sent["bytes"] += len(to_bytes(message))
        await trio.lowlevel.checkpoint()

    place = Workplace(
        identity=host,
        coordinator=Identity.from_seed(b"c" * 32).peer_id,
        engine=SyntheticEngine(Pace(tokens_per_second=rate), slots=at_once),
        sealing_keys=lambda: [key],
        now_us=now_us,
        send=send,
    )
    work = [dispatch(number, host, key, tokens) for number in range(chunks)]
    began, spent = time.perf_counter(), time.process_time()
    limit = trio.CapacityLimiter(at_once)
    reports = []

    async def one(chunk: Dispatch) -> None:
        async with limit:
            reports.append(await perform(chunk, place, trio.CancelScope()))

    async with trio.open_nursery() as nursery:
        for chunk in work:
            nursery.start_soon(one, chunk)
    elapsed, spent = time.perf_counter() - began, time.process_time() - spent
    assert {report.outcome for report in reports} == {"complete"}
    done = sum(report.completion_tokens for report in reports)
    print(
        f"{chunks} chunks of {tokens} tokens, {at_once} at once: {done / elapsed:.0f} tokens/s\n"
        f"per chunk {spent / chunks * 1e3:.2f} ms of processor time, "
        f"per token {spent / done * 1e6:.1f} us, per piece {spent / sent['pieces'] * 1e6:.1f} us\n"
        f"{sent['pieces'] / chunks:.0f} pieces and {sent['bytes'] / chunks:.0f} bytes a chunk"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--rate", type=float, default=math.inf)
    chosen = parser.parse_args()
    trio.run(measure, chosen.chunks, chosen.tokens, chosen.at_once, chosen.rate)


if __name__ == "__main__":
    main()
