import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peerllm.charter.payout_proof import PayoutLeaf, PayoutProof, leaf_bytes, write_proof

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="THE WINDOW IS NOT TESTED: run install.py --display-libraries as root",
    exc_type=ImportError,
)

from peerllm.peer.desktop.payout_card import PayoutCard, proof_arguments
from tests.peer.desktop.samples import COORDINATOR, HOST


def proof_and_root() -> tuple[PayoutProof, str]:
    """A batch of one payout: two leaves, hashed as RFC 6962 says."""
    leaf = PayoutLeaf(batch="2026-11", line=1, host=HOST.peer_id, amount=2_130_000, salt=bytes(16))
    own = hashlib.sha256(b"\0" + leaf_bytes(leaf)).digest()
    first = hashlib.sha256(b"\0the ledger").digest()
    root = hashlib.sha256(b"\1" + first + own).hexdigest()
    proof = PayoutProof(
        batch="2026-11",
        line=1,
        leaves=2,
        host=HOST.peer_id,
        amount_nano_usd=2_130_000,
        salt="0" * 32,
        path=(first.hex(),),
        root=root,
    )
    return proof, root


def test_a_payout_is_proven_against_the_published_root_alone(
    application: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    proof, root = proof_and_root()
    file = tmp_path / "proof.json"
    file.write_bytes(write_proof(proof))
    card = PayoutCard()
    card.verify()
    assert "Choose the proof" in card.result.text()
    for published, host, words in (
        (root, HOST.peer_id, "proven: batch 2026-11 pays"),
        (root.upper(), COORDINATOR, "the payout of another host"),
        ("0" * 64, HOST.peer_id, "do not believe it"),
    ):
        card.host = host
        card.proof.setText(str(file))
        card.published.setText(published)
        card.verify()
        until(card.verify_button.isEnabled, words)
        assert words in card.result.text()


def test_a_root_is_told_from_a_file() -> None:
    assert proof_arguments("p", "  " + "A" * 64) == [
        "ledger",
        "prove",
        "--check=p",
        "--root=" + "a" * 64,
    ]
    found = proof_arguments("--help", "2026-11.entry.json")
    assert found == ["ledger", "prove", "--check=--help", "--entry=2026-11.entry.json"]
    assert proof_arguments(" ", "x") is None
