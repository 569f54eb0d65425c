import pytest
import trio
from trio.testing import MockClock

from peerllm.coordinator.in_flight import InFlight


def test_requests_are_counted_by_key_while_they_run() -> None:
    requests = InFlight()
    with requests.counted("a"), requests.counted("a"), requests.counted("b"):
        assert (requests.of("a"), requests.of("b"), requests.of("c")) == (2, 1, 0)
    with pytest.raises(ZeroDivisionError), requests.counted("a"):
        raise ZeroDivisionError
    assert requests.of("a") == 0


async def test_idle_waits_for_the_last_request(autojump_clock: MockClock) -> None:
    requests = InFlight()

    async def serve(key: str, seconds: float) -> None:
        with requests.counted(key):
            await trio.sleep(seconds)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, "a", 2)
        nursery.start_soon(serve, "b", 5)
        await trio.sleep(1)
        await requests.idle()
        assert trio.current_time() == 5
    await requests.idle()
