import pytest
from simulated_host import DIGEST, NOW_US, new_registry, served_model

from peerllm.coordinator.accounts import Seat
from peerllm.coordinator.introductions import INTRODUCTION_SECONDS, Introductions, holder_of
from peerllm.coordinator.registry import LiveHost, Registry
from peerllm.overlay.errors import SessionClosed
from peerllm.overlay.messages import (
    CoordinatorMessage,
    Introduce,
    ModelHolder,
    ModelHolders,
    ModelNotFound,
    ModelSharing,
    coordinator_message,
    to_bytes,
)

OTHER_DIGEST = bytes(32)


class Stage:
    """A registry of hosts that keep what they are told."""

    def __init__(self) -> None:
        self.registry: Registry = new_registry()
        self.told: dict[str, list[CoordinatorMessage]] = {}
        self.gone: set[str] = set()
        self.now = 0.0
        self.introductions = Introductions(
            self.registry,
            [served_model()],
            clock=lambda: self.now,
            shuffle=lambda holders: holders.reverse(),
        )

    def join(self, name: str, *digests: bytes, address: str = "192.0.2.1") -> None:
        def post(message: CoordinatorMessage) -> None:
            if name in self.gone:
                raise SessionClosed("gone")
            self.told.setdefault(name, []).append(message)

        async def send(message: CoordinatorMessage) -> None:
            raise AssertionError("introductions do not wait")

        sharing = ModelSharing(port=4001, digests=list(digests)) if digests else None
        self.registry.join(
            LiveHost(
                seat=Seat(name, "ada", "community", frozenset({DIGEST}), "default", NOW_US),
                network=None,
                sealing_key=bytes(32),
                sealing_key_expires_at_us=NOW_US,
                offers={},
                send=send,
                record=self.registry.record_of(name),
                holder=holder_of(sharing, address, post),
            )
        )

    def holders(self, asker: str, wanted: str = "toy") -> list[str]:
        answer = self.introductions.answer(asker, wanted)
        assert isinstance(answer, ModelHolders)
        assert coordinator_message(to_bytes(answer)) == answer
        return [holder.peer_id for holder in answer.holders]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_those_who_share_the_model_are_named_and_told(stage: Stage) -> None:
    stage.join("Sharer", DIGEST)
    stage.join("Private")
    stage.join("Elsewhere", OTHER_DIGEST)
    answer = stage.introductions.answer("Asker", "toy")
    model = served_model()
    assert answer == ModelHolders(
        wanted="toy",
        name="toy",
        digest=DIGEST,
        file_bytes=model.facts.file_bytes,
        list_digest=model.facts.list_digest,
        holders=[ModelHolder(peer_id="Sharer", address="/ip4/192.0.2.1/tcp/4001")],
    )
    valid_us = INTRODUCTION_SECONDS * 1_000_000
    assert stage.told == {"Sharer": [Introduce(peer_id="Asker", digest=DIGEST, valid_us=valid_us)]}


def test_a_model_is_found_by_its_digest_too(stage: Stage) -> None:
    stage.join("Sharer", DIGEST)
    assert stage.holders("Asker", DIGEST.hex().upper()) == ["Sharer"]


@pytest.mark.parametrize("wanted", ["mystery", OTHER_DIGEST.hex(), DIGEST.hex()[:12]])
def test_only_models_of_this_coordinator_are_found(stage: Stage, wanted: str) -> None:
    stage.join("Sharer", DIGEST, OTHER_DIGEST)
    answer = stage.introductions.answer("Asker", wanted)
    assert answer == ModelNotFound(wanted=wanted, reason="unknown_model")
    assert stage.told == {}


def test_no_more_than_eight_are_named_and_never_the_asker_or_one_that_left(stage: Stage) -> None:
    for number in range(12):
        stage.join(f"Sharer{number}", DIGEST)
    stage.gone.add("Sharer11")
    named = stage.holders("Sharer10")
    assert named == [f"Sharer{number}" for number in (9, 8, 7, 6, 5, 4, 3, 2)]
    assert sorted(stage.told) == sorted(named)


def test_who_asks_too_often_is_put_off_and_tells_nobody(stage: Stage) -> None:
    stage.join("Sharer", DIGEST)
    answers = [stage.introductions.answer("Asker", "toy") for _ in range(20)]
    assert sum(isinstance(answer, ModelHolders) for answer in answers) == 6
    assert answers[-1] == ModelNotFound(wanted="toy", reason="too_often")
    assert len(stage.told["Sharer"]) == 6
    assert stage.holders("Another") == ["Sharer"]
    stage.now += 30
    assert stage.holders("Asker") == ["Sharer"]
    assert isinstance(stage.introductions.answer("Asker", "toy"), ModelNotFound)


@pytest.mark.parametrize(
    ("seen", "named"),
    [
        ("192.0.2.7", "/ip4/192.0.2.7/tcp/4001"),
        ("::ffff:192.0.2.7", "/ip4/192.0.2.7/tcp/4001"),
        ("2001:db8::1", "/ip6/2001:db8::1/tcp/4001"),
        ("fe80::1%eth0", None),
        ("intranet.example", None),
        (None, None),
    ],
)
def test_a_holder_is_where_it_was_seen(seen: str | None, named: str | None) -> None:
    holder = holder_of(ModelSharing(port=4001, digests=[DIGEST]), seen, lambda _: None)
    assert (holder.address if holder else None) == named
