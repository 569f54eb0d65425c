import random
import shutil
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.charter.errors import AlteredLog, BadSignature, CharterError, Malformed, NotWitnessed
from peerllm.charter.log import (
    Checkpoint,
    Entry,
    LogKeys,
    SignatureType,
    StrikeCommitment,
    VerifierKey,
    log_key,
    open_log,
    parse_verifier_key,
    prove_entry,
    verify_proof,
)
from peerllm.charter.log_checkpoint import open_checkpoint, parse_checkpoint
from peerllm.charter.log_history import verify_evidence
from peerllm.charter.log_notes import SignedNote, sign_note
from peerllm.charter.log_verification import read_entries, verify_log
from peerllm.charter.log_witness import Witness
from peerllm.charter.merkle import EMPTY_ROOT
from peerllm.crypto.identity import Identity
from tests.charter.log_stage import (
    OPERATOR,
    copied,
    entries,
    grown,
    no_waiting_for_the_disk,  # noqa: F401 - for every test here
    published_files,
    rewritten,
)

NOW = 1_790_000_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with a full tile, narrow ones of two checkpoints, two kinds of entries, a witness."""
    place = tmp_path_factory.mktemp("verified")
    folder = grown(place / "log", 259)
    strike = Entry(at_us=5, body=StrikeCommitment(region="eu", commitment="0" * 64))
    with open_log(folder) as writer:
        writer.append([strike, *entries(0, 2)])
        writer.publish(OPERATOR)
        witness = Witness("w", Identity.from_seed(b"w" * 32), writer.key, place / "seen")
        writer.add_cosignatures(
            witness.cosign(folder / "public", NOW, first=True), [witness.key], NOW
        )
    return folder


@pytest.fixture(scope="module")
def keys(log: Path) -> LogKeys:
    witness = VerifierKey("w", SignatureType.COSIGNATURE, Identity.from_seed(b"w" * 32).public_key)
    return LogKeys(log_key(log), (witness,), 1)


def test_a_log_that_is_well_is_counted(log: Path, keys: LogKeys) -> None:
    report = verify_log(log / "public", keys, NOW)
    files = published_files(log / "public")
    assert report.entries_by_kind == {"strike-commitment": 1, "tariff-version": 261}
    assert report.signed.checkpoint.size == 262
    assert (report.files, report.total_bytes) == (len(files), sum(map(len, files.values())))
    assert report.strangers == ()


def test_an_empty_log_is_well(tmp_path: Path) -> None:
    folder = grown(tmp_path / "log")
    report = verify_log(folder / "public", LogKeys(log_key(folder)), NOW)
    assert (report.files, report.entries_by_kind) == (1, {})


def test_a_flipped_byte_in_any_file_is_caught(
    tmp_path: Path, log: Path, keys: LogKeys, capsys: pytest.CaptureFixture[str]
) -> None:
    public = copied(log, tmp_path / "copy")
    chance, flips = random.Random(7), 0
    for name, good in published_files(public).items():
        # The first and the last byte of every file, and twelve between; all of the checkpoint.
        places = {0, len(good) - 1, *(chance.randrange(len(good)) for _ in range(12))}
        for place in range(len(good)) if name == "checkpoint" else sorted(places):
            altered = bytearray(good)
            altered[place] ^= 1 << chance.randrange(8)
            (public / name).write_bytes(altered)
            with pytest.raises((AlteredLog, BadSignature, Malformed, NotWitnessed)):
                verify_log(public, keys, NOW)
            flips += 1
        (public / name).write_bytes(good)
    verify_log(public, keys, NOW)
    assert flips > 350
    with capsys.disabled():
        sys.stdout.write(f"\n{flips} bytes of a log's public files flipped, each caught\n")


@pytest.mark.parametrize("change", ["cut", "longer", "empty", "gone"])
def test_a_file_cut_longer_or_gone_is_caught(
    tmp_path: Path, log: Path, keys: LogKeys, change: str
) -> None:
    public = copied(log, tmp_path / "copy")
    for name, good in published_files(public).items():
        changed = {"cut": good[:-1], "longer": good + b"\n", "empty": b""}.get(change)
        (public / name).unlink()
        if changed is not None:
            (public / name).write_bytes(changed)
        elif name in ("tile/0/001.p/3", "tile/entries/001.p/3"):
            # Of the checkpoint before; who has the newer one does not need it.
            verify_log(public, keys, NOW)
            continue
        with pytest.raises(CharterError):
            verify_log(public, keys, NOW)
        (public / name).write_bytes(good)


def test_what_is_no_part_of_the_log_is_named(tmp_path: Path, log: Path, keys: LogKeys) -> None:
    public = copied(log, tmp_path / "copy")
    for name in ("README", "tile/0/002.p/1", "tile/0/1", "tile/9/000", "tile/0/001.p/999"):
        (public / name).parent.mkdir(parents=True, exist_ok=True)
        (public / name).write_bytes(b"mine")
    assert len(verify_log(public, keys, NOW).strangers) == 5


def test_a_mirror_that_is_ahead_of_its_checkpoint_is_well(tmp_path: Path, log: Path) -> None:
    folder = Path(shutil.copytree(log, tmp_path / "log"))
    old = (folder / "public" / "checkpoint").read_bytes()
    with open_log(folder) as writer:
        writer.append(entries(0, 300))
        writer.publish(OPERATOR)
    (folder / "public" / "checkpoint").write_bytes(old)
    report = verify_log(folder / "public", LogKeys(log_key(folder)), NOW)
    assert report.signed.checkpoint.size == 262
    assert len(report.strangers) == 5


def test_a_rewritten_log_with_the_old_checkpoint_is_caught(tmp_path: Path) -> None:
    honest = grown(tmp_path / "log", 300)
    fork = rewritten(tmp_path / "fork", 7, 300)
    old = (honest / "public" / "checkpoint").read_bytes()
    (fork / "public" / "checkpoint").write_bytes(old)
    with pytest.raises(AlteredLog, match="this log was rewritten"):
        verify_log(fork / "public", LogKeys(log_key(honest)), NOW)


def test_an_entry_that_is_none_is_caught_though_it_was_signed(tmp_path: Path) -> None:
    folder = grown(tmp_path / "log", 2)
    pending = folder / "pending" / "0000000000000002-1"
    packed = b"\x00\x02{}"
    pending.write_bytes(sha256(packed).digest() + packed)
    with open_log(folder) as writer:
        writer.publish(OPERATOR)
    with pytest.raises(AlteredLog, match="entry 2 is none that this release"):
        verify_log(folder / "public", LogKeys(log_key(folder)), NOW)


def test_entries_are_checked_while_they_are_listed(tmp_path: Path, log: Path) -> None:
    public = copied(log, tmp_path / "copy")
    keys = LogKeys(log_key(log))
    signed = open_checkpoint((public / "checkpoint").read_bytes(), keys, NOW)
    listed = list(read_entries(public, signed, 250))
    assert [index for index, _ in listed] == list(range(250, 262))
    assert listed[0][1] == entries(250, 1)[0]
    assert list(read_entries(public, signed, 262)) == []
    for name in ("tile/entries/000", "tile/0/000"):
        good = (public / name).read_bytes()
        (public / name).write_bytes(good[:-3] + b"!" + good[-2:])
        with pytest.raises(AlteredLog, match=r"tile/entries/000 or its hashes were altered"):
            list(read_entries(public, signed, 0))
        (public / name).write_bytes(good)


@pytest.mark.parametrize("index", [0, 255, 256, 261])
def test_a_proof_needs_the_keys_alone(log: Path, keys: LogKeys, index: int) -> None:
    proof = prove_entry(log / "public", index, keys, NOW)
    proven = verify_proof(proof, keys, NOW)
    assert proven.index == index
    assert proven.signed.cosigned == (("w", NOW),)
    chance = random.Random(index)
    for place in chance.sample(range(len(proof)), 120):
        altered = bytearray(proof)
        altered[place] ^= 1 << chance.randrange(8)
        with pytest.raises(CharterError):
            verify_proof(bytes(altered), keys, NOW)
    for end in chance.sample(range(len(proof)), 40):
        with pytest.raises(CharterError):
            verify_proof(proof[:end], keys, NOW)
    with pytest.raises(Malformed, match="at most"):
        verify_proof(proof + b" " * 50_000, keys, NOW)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_are_no_proof_no_evidence_and_no_checkpoint(raw: bytes) -> None:
    keys = LogKeys(VerifierKey("log", SignatureType.NOTE, OPERATOR.public_key))
    for parse in (verify_proof, verify_evidence, open_checkpoint):
        for begun in (b"", b"c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n", b"log\n0\n"):
            with pytest.raises(CharterError):
                parse(begun + raw, keys, NOW)


def test_a_proof_from_altered_files_is_not_handed_out(tmp_path: Path, log: Path) -> None:
    public, keys = copied(log, tmp_path / "copy"), LogKeys(log_key(log))
    tile = public / "tile" / "0" / "000"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    with pytest.raises(AlteredLog, match="does not prove"):
        prove_entry(public, 1, keys, NOW)
    with pytest.raises(CharterError, match="there is no number 262"):
        prove_entry(public, 262, keys, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n",
        "log\n1\n",
        "\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log\n²\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log\n9999999999999999999\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log\n" + "9" * 5_000 + "\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
        "log\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\nmore\n",
        "log\n1\nAAAA\n",
        "log\n1\nü\n",
        # An empty log has the root of nothing.
        "log\n0\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="not a checkpoint"):
        parse_checkpoint(text)


def test_a_checkpoint_of_another_log_with_the_same_key_is_refused(log: Path) -> None:
    key = log_key(log)
    text = Checkpoint("log.example/other", 0, EMPTY_ROOT).text()
    note = SignedNote(text, (sign_note(text, key, OPERATOR),))
    with pytest.raises(BadSignature, match=r"log\.example/other"):
        open_checkpoint(note.encode(), LogKeys(key), NOW)


def test_trust_that_makes_no_sense_is_refused(keys: LogKeys) -> None:
    log, [witness] = keys.log, keys.witnesses
    same = VerifierKey("other-name", witness.type, witness.public_key)
    for trusted, why in (
        ((witness,), "witness's key"),
        ((log, (log,)), "not a witness's key"),
        ((log, (witness, same)), "given twice"),
        ((log, (witness,), 2), "2 witnesses are required, but 1 are known"),
        ((log, (witness,), -1), "required"),
    ):
        with pytest.raises(Malformed, match=why):
            LogKeys(*trusted)  # type: ignore[arg-type]
    assert parse_verifier_key(str(witness)) == witness
