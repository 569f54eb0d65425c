"""Work that takes the processor, off the event loop and in few threads at once."""

import os
from collections.abc import Callable
from typing import Final, TypeVar

import trio

Result = TypeVar("Result")

# Threads beyond the cores bring nothing, and each of them may keep the interpreter from the event
# loop for its turn of 5 ms: 40 requests judged in 40 threads held the loop up for 1.3 to 1.6 s at
# worst, in 2 threads for 0.02 s and in 4 for 0.04 s, in about the same time in all (measured on
# two cores).
_THREADS: Final = min(max(2, os.cpu_count() or 2), 8)
_turns: Final = trio.CapacityLimiter(_THREADS)


async def computed(work: Callable[[], Result]) -> Result:
    """The result of `work`, which waits its turn: first come, first served."""
    return await trio.to_thread.run_sync(work, limiter=_turns)
