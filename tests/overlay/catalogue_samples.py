"""A catalogue as a coordinator tells it: one model the asker may serve, one it is in line for."""

from peerllm.overlay.catalogue_messages import (
    Catalogue,
    ModelTold,
    PlaceInLine,
    RegionOfHosts,
    SeatHeld,
)

AS_OF_US = 1_700_000_000_000_000
SMALL, LARGE = b"\x01" * 32, b"\x02" * 32


def model(digest: bytes = SMALL, **changes: object) -> ModelTold:
    facts: dict[str, object] = {
        "name": f"model-{digest[0]}",
        "digest": digest,
        "model_class": "small",
        "context_tokens": 8192,
        "license": "Apache-2.0",
        "embedded": False,
        "file_bytes": 100_000_000,
        "cache_bytes_per_token": 20_000,
        "free_seats": 2,
        "waiting": 0,
    }
    return ModelTold(**{**facts, **changes})  # type: ignore[arg-type]


CATALOGUE = Catalogue(
    as_of_us=AS_OF_US,
    network="home",
    version=3,
    models=[model(), model(LARGE, file_bytes=4_000_000_000, model_class="large", waiting=3)],
    regions=[RegionOfHosts(name="bavaria", contact="ada@example.org", takes_hosts=True)],
    seat=SeatHeld(region="bavaria", digests=[SMALL]),
    places=[
        PlaceInLine(region="bavaria", digest=LARGE, place=2, since_us=AS_OF_US, offered_until_us=0)
    ],
)
