"""Papers from other people's machines: read in one spelling or refused; what they show."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerllm.charter.ballot_papers import Founding, Proposal, Second, Vote, is_signed
from peerllm.charter.defaults import first_standard
from peerllm.charter.differences import as_text, document_differences, visible
from peerllm.charter.documents import write_document
from peerllm.charter.drafts import DraftSignatures, read_draft, read_paper
from peerllm.charter.errors import CharterError, Malformed, MissingDocument

KINDS: list[Any] = [Proposal, Founding, Second, Vote, DraftSignatures]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_any_bytes_are_a_paper_or_malformed(tmp_path: Path, kind: Any, raw: bytes) -> None:
    path = tmp_path / "paper.json"
    path.write_bytes(raw)
    with pytest.raises(Malformed, match=r"paper\.json"):
        read_paper(path, kind)


@pytest.fixture
def draft(network: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "draft"
    document = msgspec.structs.replace(first_standard(), version=2, answer_margin_milli=150)
    network.propose(folder, {"safety-standard.json": write_document(document)})
    network.decided(folder, now=network.founded_at)
    return folder


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_an_altered_paper_is_refused_or_no_longer_signed(draft: Path, data: st.DataObject) -> None:
    name, kind = data.draw(
        st.sampled_from(
            [("proposal.json", Proposal), ("second.json", Second), ("votes/steward-1.json", Vote)]
        )
    )
    content = (draft / name).read_bytes()
    altered = bytearray(content)
    altered[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = draft.parent / "altered.json"
    path.write_bytes(altered)
    with contextlib.suppress(Malformed):
        assert not is_signed(read_paper(path, kind))


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        (lambda draft: (draft / "proposal.json").unlink(), MissingDocument),
        (lambda draft: (draft / "base" / "root.json").unlink(), MissingDocument),
        (lambda draft: (draft / "base" / "root.json").write_bytes(b"{}"), Malformed),
        (lambda draft: (draft / "base" / "targets.json").write_bytes(b"[" * 9_999), Malformed),
        (lambda draft: (draft / "documents" / "safety-standard.json").unlink(), MissingDocument),
        (lambda draft: (draft / "votes" / "x.json").write_bytes(b"\xff"), Malformed),
        (lambda draft: (draft / "second.json").write_bytes(b" " * 2_000_000), Malformed),
        (lambda draft: (draft / "signatures" / "x.json").mkdir(), MissingDocument),
        (
            lambda draft: [
                (draft / "votes" / f"{number}.json").write_bytes(b"") for number in range(101)
            ],
            Malformed,
        ),
    ],
)
def test_a_damaged_draft_is_refused(
    draft: Path, edit: Callable[[Path], object], kind: type[CharterError]
) -> None:
    edit(draft)
    with pytest.raises(kind):
        read_draft(draft)


def test_differences_name_every_field_once() -> None:
    old = {"a.json": b'{"x": {"y": [1, 2]}, "same": true}', "gone.csv": b"\xff"}
    new = {"a.json": b'{"x": {"y": [1, 3], "z": "new"}, "same": true}'}
    assert as_text(document_differences(old, new)) == (
        "- a.json x.y[1]: 2\n+ a.json x.y[1]: 3\n+ a.json x.z: new\n- gone.csv : 1 bytes\n"
    )
    assert as_text(document_differences(new, new)) == "no difference\n"


def test_no_text_can_pretend_to_be_another_change() -> None:
    raw = msgspec.json.encode({"x": "one\n+ tariff.json price: 0\x1b[2K"})
    [line] = as_text(document_differences({}, {"a.json": raw})).splitlines()
    assert line == r"+ a.json x: one\n+ tariff.json price: 0\x1b[2K"
    deep = b"[" * 50_000 + b"]" * 50_000
    assert as_text(document_differences({}, {"calculations/d.json": deep})) == (
        "+ calculations/d.json : 100000 bytes\n"
    )


@given(st.text())
def test_what_is_visible_can_be_printed(text: str) -> None:
    assert visible(text).isprintable()
    assert visible(visible(text)) == visible(text)
