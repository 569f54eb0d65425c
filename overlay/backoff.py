"""How long to wait before trying a peer again."""

from collections.abc import Callable


def full_jitter(
    attempt: int, random: Callable[[], float], base: float = 0.5, cap: float = 60.0
) -> float:
    """Return the seconds to wait before retry number `attempt`, counted from 0.

    Uniform between nothing and `base * 2**attempt`, at most `cap`: when a coordinator
    restarts, its hosts come back spread out instead of all at once (Brooker, "Exponential
    Backoff And Jitter", 2015). `random` returns floats in [0, 1).
    """
    if attempt < 0:
        raise ValueError(f"attempts are counted from 0, got {attempt}")
    # Beyond 2**32 every base worth using has long passed its cap, and a host that retries
    # for a month must not overflow a float.
    return random() * min(cap, base * 2.0 ** min(attempt, 32))
