import trio
from trio.testing import MockClock

from peerllm.peer.bandwidth import Meter, MeteredStream


class Recording:
    """A stream that notes when bytes were written."""

    def __init__(self) -> None:
        self.written: list[tuple[float, int]] = []

    async def read(self, maximum: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return bytes(min(maximum, 1000))

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.written.append((trio.current_time(), len(data)))

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_no_more_than_the_cap_moves_in_both_directions(autojump_clock: MockClock) -> None:
    stream, meter = Recording(), Meter(lambda: 1000)
    metered = MeteredStream(stream, meter)
    began = trio.current_time()
    for _ in range(5):
        await metered.write(bytes(1000))
        await metered.read(4096)
    elapsed = trio.current_time() - began
    # Ten thousand bytes, less one burst at most.
    assert 9.7 < elapsed <= 10
    assert (meter.sent, meter.received) == (5000, 5000)


async def test_without_a_cap_nothing_waits_and_a_new_cap_counts_at_once(
    autojump_clock: MockClock,
) -> None:
    rates = [0]
    metered = MeteredStream(Recording(), Meter(lambda: rates[0]))
    began = trio.current_time()
    for _ in range(100):
        await metered.write(bytes(1_000_000))
    assert trio.current_time() == began
    rates[0] = 1000
    await metered.write(bytes(1000))
    assert trio.current_time() > began + 0.7
    rates[0] = 0
    before = trio.current_time()
    await metered.write(bytes(1_000_000))
    assert trio.current_time() == before


async def test_a_quiet_hour_is_not_saved_up(autojump_clock: MockClock) -> None:
    metered = MeteredStream(Recording(), Meter(lambda: 1000))
    await trio.sleep(3600)
    began = trio.current_time()
    await metered.write(bytes(10_000))
    assert trio.current_time() - began > 9.7
