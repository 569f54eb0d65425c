import os
from collections.abc import Callable
from pathlib import Path

import pytest

from peerllm.charter.errors import (
    AlreadyFounded,
    AlteredLog,
    BadSignature,
    BusyLog,
    CharterError,
    ForkedLog,
    Malformed,
    MissingDocument,
    NotWitnessed,
    RolledBack,
)
from peerllm.charter.log import LogKeys, log_key, open_log
from peerllm.charter.log_checkpoint import open_checkpoint
from peerllm.charter.log_history import verify_evidence
from peerllm.charter.log_lock import sole_writer
from peerllm.charter.log_notes import SignedNote
from peerllm.charter.log_witness import Witness
from peerllm.crypto.identity import Identity
from tests.charter.log_stage import (
    OPERATOR,
    copied,
    entries,
    grown,
    no_waiting_for_the_disk,  # noqa: F401 - for every test here
    rewritten,
)

NOW = 1_790_000_000
DAY = 86_400


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return grown(tmp_path / "log", 300)


@pytest.fixture
def witness(tmp_path: Path, log: Path) -> Witness:
    identity = Identity.from_seed(bytes([7]) * 32)
    return Witness("witness.example/one", identity, log_key(log), tmp_path / "w" / "seen")


def grow(log: Path, count: int) -> None:
    with open_log(log) as writer:
        writer.append(entries(writer.size, count))
        writer.publish(OPERATOR)


def test_a_log_that_only_grows_is_cosigned_each_time(log: Path, witness: Witness) -> None:
    keys = LogKeys(log_key(log), (witness.key,), 1)
    note = witness.cosign(log / "public", NOW, first=True)
    for step, more in enumerate((0, 1, 211, 1)):
        if more:
            grow(log, more)
        note = witness.cosign(log / "public", NOW + step)
        signed = open_checkpoint(note.encode(), keys, NOW + step)
        assert signed.cosigned == (("witness.example/one", NOW + step),)
    assert witness.state.read_bytes() == note.encode()
    assert signed.checkpoint.size == 513


def test_readers_can_demand_the_cosignature(log: Path, witness: Witness) -> None:
    keys = LogKeys(log_key(log), (witness.key,), 1)
    public = log / "public" / "checkpoint"
    with pytest.raises(NotWitnessed, match=r"missing: witness\.example/one"):
        open_checkpoint(public.read_bytes(), keys, NOW)
    note = witness.cosign(log / "public", NOW, first=True)
    with open_log(log) as writer:
        assert writer.add_cosignatures(note, [witness.key], NOW) == 1
        assert writer.add_cosignatures(note, [], NOW) == 0
    assert open_checkpoint(public.read_bytes(), keys, NOW).cosigned


def test_cosignatures_of_another_checkpoint_are_not_taken_over(log: Path, witness: Witness) -> None:
    note = witness.cosign(log / "public", NOW, first=True)
    grow(log, 1)
    with open_log(log) as writer, pytest.raises(Malformed, match="another checkpoint"):
        writer.add_cosignatures(note, [witness.key], NOW)


def test_a_forged_cosignature_is_not_taken_over(log: Path, witness: Witness) -> None:
    before = (log / "public" / "checkpoint").read_bytes()
    note = witness.cosign(log / "public", NOW, first=True)
    [own, cosignature] = note.signatures
    forged = type(cosignature)(cosignature.name, cosignature.key_id, cosignature.value[:-1] + b"!")
    with open_log(log) as writer, pytest.raises(BadSignature, match=r"witness\.example/one"):
        writer.add_cosignatures(SignedNote(note.text, (own, forged)), [witness.key], NOW)
    assert (log / "public" / "checkpoint").read_bytes() == before


def test_a_cosignature_from_tomorrow_is_refused(log: Path, witness: Witness) -> None:
    keys = LogKeys(log_key(log), (witness.key,), 1)
    note = witness.cosign(log / "public", NOW + DAY, first=True)
    with pytest.raises(NotWitnessed, match="86400 s in the future"):
        open_checkpoint(note.encode(), keys, NOW)
    with open_log(log) as writer, pytest.raises(NotWitnessed, match="in the future"):
        writer.add_cosignatures(note, [witness.key], NOW)
    # The witness itself notices that its clock was put back a day.
    with pytest.raises(NotWitnessed, match="its clock or this machine's is wrong"):
        witness.cosign(log / "public", NOW)
    # A minute is how far clocks may differ; the time does not run backwards for it.
    assert int.from_bytes(
        witness.cosign(log / "public", NOW + DAY - 60).signatures[1].value[:8]
    ) == (NOW + DAY)


@pytest.mark.parametrize(("index", "size"), [(0, 300), (299, 300), (7, 301), (299, 600)])
def test_a_fork_is_shown_and_proven(
    tmp_path: Path, log: Path, witness: Witness, index: int, size: int
) -> None:
    witness.cosign(log / "public", NOW, first=True)
    remembered = witness.state.read_bytes()
    fork = rewritten(tmp_path / "fork", index, size)
    with pytest.raises(ForkedLog) as shown:
        witness.cosign(fork / "public", NOW + 1)
    evidence = witness.state.with_name(f"seen.fork-{size}.json")
    for words in ("signed two histories", "\n  300\n", f"\n  {size}\n", str(evidence)):
        assert words in str(shown.value)
    assert witness.state.read_bytes() == remembered
    # Anyone can check the evidence with the log's key alone.
    keys = LogKeys(log_key(log))
    earlier, later = verify_evidence(evidence.read_bytes(), keys, NOW)
    assert (earlier.size, later.size) == (300, size)
    # The honest log is still cosigned.
    assert witness.cosign(log / "public", NOW + 2).text.startswith("log.example/home\n300\n")


def test_evidence_that_proves_nothing_is_refused(
    tmp_path: Path, log: Path, witness: Witness
) -> None:
    witness.cosign(log / "public", NOW, first=True)
    fork = rewritten(tmp_path / "fork", 7, 400)
    with pytest.raises(ForkedLog):
        witness.cosign(fork / "public", NOW)
    raw = witness.state.with_name("seen.fork-400.json").read_bytes()
    refused = 0
    # Every seventh byte: the whole of it at a price of a second.
    for place in range(0, len(raw), 7):
        altered = bytearray(raw)
        altered[place] ^= 1
        try:
            earlier, later = verify_evidence(bytes(altered), LogKeys(log_key(log)), NOW)
        except CharterError:
            refused += 1
        else:
            # White space, and the witness's own cosignature, which this does not rest on.
            assert (earlier.size, later.size) == (300, 400)
    assert refused > len(range(0, len(raw), 7)) * 0.7
    with pytest.raises(Malformed, match="at most"):
        verify_evidence(b" " * 200_000, LogKeys(log_key(log)), NOW)


def test_a_log_that_shrank_is_not_cosigned(tmp_path: Path, log: Path, witness: Witness) -> None:
    old = copied(log, tmp_path / "old")
    grow(log, 1)
    witness.cosign(log / "public", NOW, first=True)
    with pytest.raises(RolledBack, match="has 300 entries and had 301"):
        witness.cosign(old, NOW)


def test_files_that_do_not_make_the_checkpoint_are_not_cosigned(
    tmp_path: Path, log: Path, witness: Witness
) -> None:
    def tampered(name: str, change: Callable[[bytes], bytes] | None) -> Path:
        public = copied(log, tmp_path / f"copy-{len(list(tmp_path.iterdir()))}")
        if change:
            (public / name).write_bytes(change((public / name).read_bytes()))
        else:
            (public / name).unlink()
        return public

    cases = [
        ("tile/1/000.p/1", lambda raw: b"!" + raw[1:], AlteredLog),
        ("tile/0/001.p/44", lambda raw: raw[:-1], AlteredLog),
        ("tile/0/001.p/44", None, AlteredLog),
        ("tile/0/001.p/44", lambda raw: raw[:-1] + b"!", AlteredLog),
        ("checkpoint", lambda raw: raw.replace(b"\n300\n", b"\n299\n"), BadSignature),
        ("checkpoint", lambda raw: raw[:-1], Malformed),
        ("checkpoint", None, MissingDocument),
    ]
    for first in (True, False):
        for name, change, error in cases:
            with pytest.raises(error):
                witness.cosign(tampered(name, change), NOW, first=first)
        if first:
            assert not witness.state.exists()
            witness.cosign(log / "public", NOW, first=True)
    assert not list(witness.state.parent.glob("*fork*"))


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes")
@pytest.mark.parametrize("name", ["checkpoint", "tile/0/001.p/44"])
def test_a_pipe_among_the_files_is_refused_not_waited_for(
    log: Path, witness: Witness, name: str
) -> None:
    (log / "public" / name).unlink()
    os.mkfifo(log / "public" / name)
    with pytest.raises(CharterError, match="not a regular file"):
        witness.cosign(log / "public", NOW, first=True)


def test_a_lost_or_altered_memory_is_not_passed_over(log: Path, witness: Witness) -> None:
    with pytest.raises(MissingDocument, match="nothing is known of this log's past"):
        witness.cosign(log / "public", NOW)
    witness.cosign(log / "public", NOW, first=True)
    with pytest.raises(AlreadyFounded, match="not the first time"):
        witness.cosign(log / "public", NOW, first=True)
    good = witness.state.read_bytes()
    # The log's checkpoint as the operator has it, in place of what the witness itself signed.
    witness.state.write_bytes((log / "public" / "checkpoint").read_bytes())
    with pytest.raises(NotWitnessed):
        witness.cosign(log / "public", NOW)
    for damaged in (b"", good[:-1], good.replace(b"300", b"299")):
        witness.state.write_bytes(damaged)
        with pytest.raises((Malformed, BadSignature)):
            witness.cosign(log / "public", NOW)


def test_two_runs_at_once_are_one(log: Path, witness: Witness) -> None:
    witness.state.parent.mkdir()
    lock = witness.state.with_name("seen.lock")
    with sole_writer(lock), pytest.raises(BusyLog, match="another process"):
        witness.cosign(log / "public", NOW, first=True)
    lock.write_bytes(b"not a database, but long enough to be taken for one" * 10)
    with pytest.raises(CharterError, match="cannot be locked"):
        witness.cosign(log / "public", NOW, first=True)


def test_another_logs_checkpoint_is_not_cosigned(tmp_path: Path, log: Path) -> None:
    stranger = Identity.generate()
    other_key = type(log_key(log))("log.example/home", log_key(log).type, stranger.public_key)
    witness = Witness("witness.example/one", Identity.generate(), other_key, tmp_path / "seen")
    with pytest.raises(BadSignature, match="not signed by the key"):
        witness.cosign(log / "public", NOW, first=True)
