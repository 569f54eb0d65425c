import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from peerllm.charter.errors import BadSignature, Malformed
from peerllm.charter.log_notes import (
    MAXIMUM_NOTE_BYTES,
    NoteSignature,
    SignatureType,
    SignedNote,
    VerifierKey,
    cosign_note,
    cosigned_at,
    is_signed,
    parse_note,
    parse_verifier_key,
    sign_note,
)
from peerllm.crypto.identity import Identity

IDENTITY = Identity.from_seed(bytes(range(32)))
LOG = VerifierKey("log.example/home", SignatureType.NOTE, IDENTITY.public_key)
WITNESS = VerifierKey("witness.example/one", SignatureType.COSIGNATURE, IDENTITY.public_key)
TEXT = "log.example/home\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"

# The example of the specification of signed notes, with its key.
SPECIFIED_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPECIFIED_NOTE = (
    "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ON"
    "ncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# A key of a witness in service, as its operator publishes it.
WITNESS_IN_SERVICE = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
# The example of the specification of cosignatures; its key was never published.
SPECIFIED_COSIGNATURE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2"
    "q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2"
    "oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


def test_the_specifications_note_verifies() -> None:
    key = parse_verifier_key(SPECIFIED_KEY + "\n")
    note = parse_note(SPECIFIED_NOTE.encode())
    assert str(key) == SPECIFIED_KEY
    assert is_signed(note, key)
    with pytest.raises(BadSignature, match=r"example\.com/foo"):
        is_signed(SignedNote("This is an exemplary message.\n", note.signatures), key)


def test_a_witness_key_in_service_has_the_id_we_compute() -> None:
    key = parse_verifier_key(WITNESS_IN_SERVICE)
    assert key.type is SignatureType.COSIGNATURE
    assert (key.key_id.hex(), str(key)) == ("da77ade7", WITNESS_IN_SERVICE)


def test_the_specifications_cosignature_has_the_shape_we_read() -> None:
    note = parse_note(SPECIFIED_COSIGNATURE.encode())
    cosignature = note.signatures[1]
    assert cosignature.key_id.hex() == "8d66cf3f"
    # The time of the message in the specification, then an Ed25519 signature.
    assert int.from_bytes(cosignature.value[:8]) == 1_679_315_147
    assert len(cosignature.value[8:]) == 64
    assert note.encode() == SPECIFIED_COSIGNATURE.encode()


def test_a_cosignature_is_of_the_message_that_the_specification_spells_out() -> None:

    signature = cosign_note(TEXT, WITNESS, IDENTITY, 1_679_315_147)
    message = f"cosignature/v1\ntime 1679315147\n{TEXT}".encode()
    Ed25519PublicKey.from_public_bytes(IDENTITY.public_key).verify(signature.value[8:], message)


def test_one_key_signs_and_cosigns_under_two_ids() -> None:
    note = SignedNote(TEXT, (sign_note(TEXT, LOG, IDENTITY),))
    note = note.with_signatures(cosign_note(TEXT, WITNESS, IDENTITY, 1_000))
    assert parse_note(note.encode()) == note
    assert is_signed(note, LOG)
    assert cosigned_at(note, WITNESS) == 1_000
    newer = note.with_signatures(cosign_note(TEXT, WITNESS, IDENTITY, 2_000))
    assert len(newer.signatures) == 2
    assert cosigned_at(newer, WITNESS) == 2_000


def test_signatures_of_others_are_ignored() -> None:
    note = parse_note(SPECIFIED_COSIGNATURE.encode())
    assert not is_signed(note, LOG)
    assert cosigned_at(note, WITNESS) is None


def test_a_cosignature_with_another_time_is_wrong() -> None:
    good = cosign_note(TEXT, WITNESS, IDENTITY, 1_000)
    later = NoteSignature(good.name, good.key_id, (1_001).to_bytes(8) + good.value[8:])
    with pytest.raises(BadSignature):
        cosigned_at(SignedNote(TEXT, (good, later)), WITNESS)


@pytest.mark.parametrize("key", [WITNESS, LOG])
def test_anothers_identity_signs_nothing_for_a_key(key: VerifierKey) -> None:
    with pytest.raises(BadSignature, match="not that of"):
        sign_note(TEXT, key, Identity.generate())
    with pytest.raises(BadSignature, match="not that of"):
        cosign_note(TEXT, key, Identity.generate(), 1)
    other = sign_note if key is WITNESS else cosign_note
    with pytest.raises(BadSignature, match="not that of"):
        other(TEXT, key, IDENTITY, *([1] if other is cosign_note else []))  # type: ignore[operator]


@pytest.mark.parametrize("seconds", [0, -1, 2**63])
def test_no_cosignature_bears_a_time_that_cannot_be(seconds: int) -> None:
    with pytest.raises(ValueError, match=str(seconds)):
        cosign_note(TEXT, WITNESS, IDENTITY, seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/foo",
        SPECIFIED_KEY.replace("530d903a", "530d903b"),
        SPECIFIED_KEY.replace("530d903a", "53 0d903a"),
        SPECIFIED_KEY.replace("530d903a", "530D903A"),
        SPECIFIED_KEY.replace("example.com/foo", "example.com/bar"),
        SPECIFIED_KEY + "=",
        SPECIFIED_KEY[:-4],
        # Of another type of signature, though otherwise right.
        "example.com/foo+00000000+BukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="not a public key"):
        parse_verifier_key(text)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n— name\n",
        SPECIFIED_NOTE[:-1],
        SPECIFIED_NOTE + "\n",
        SPECIFIED_NOTE + "more\n",
        SPECIFIED_NOTE.replace("— ", "- "),
        SPECIFIED_NOTE.replace("aQM=", "aQN="),
        SPECIFIED_NOTE.replace("aQM=", "aQM"),
        SPECIFIED_NOTE.replace("This", "\tThis"),
        SPECIFIED_NOTE.replace("This", "\rThis"),
        SPECIFIED_NOTE.replace("com/foo", "com+foo"),
        "text\n\n— name AAAA\n",
        "text\n\n— name AAAAAA==\n",
    ],
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(Malformed, match="not a signed note"):
        parse_note(note.encode())


def test_sizes_are_bounded_and_texts_are_utf_8() -> None:
    with pytest.raises(Malformed, match="at most"):
        parse_note(b"x" * (MAXIMUM_NOTE_BYTES + 1))
    with pytest.raises(Malformed, match="not a signed note"):
        parse_note(b"\xff" + SPECIFIED_NOTE.encode())


def test_an_empty_line_in_the_text_stays_in_it() -> None:
    note = SignedNote("one\n\ntwo\n", (NoteSignature("n", b"abcd", b"x"),))
    assert parse_note(note.encode()) == note


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_are_a_note_or_refused(raw: bytes) -> None:
    try:
        note = parse_note(raw)
    except Malformed:
        return
    assert note.encode() == raw


@given(st.data())
def test_no_note_survives_an_altered_byte(data: st.DataObject) -> None:
    raw = bytearray(SignedNote(TEXT, (sign_note(TEXT, LOG, IDENTITY),)).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        signed = is_signed(parse_note(bytes(raw)), LOG)
    except (Malformed, BadSignature):
        return
    assert not signed


@given(st.text(max_size=150))
def test_text_is_a_key_or_refused(text: str) -> None:
    try:
        key = parse_verifier_key(text)
    except Malformed:
        return
    assert str(key) == text.strip()
