"""What is asked before a model is removed."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="THE MODELS' CARDS ARE NOT TESTED: run install.py --display-libraries as root",
    exc_type=ImportError,
)

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QPushButton

from peerllm.peer.catalogue import CatalogueModel
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.local_models import LocalModels
from peerllm.peer.desktop.models_view import model_rows
from tests.peer.desktop.samples import DIGEST

ENTRY = CatalogueModel(
    name="mine",
    path="/srv/<b>models</b>/mine.gguf",
    file_bytes=98_000_000,
    architecture="llama",
    parameters=134_000_000,
    trained_context_tokens=8192,
    cache_bytes_per_token=23_040,
)


def test_a_path_that_looks_like_markup_is_shown_as_it_is(
    application: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Qt.TextFormat, str]] = []

    def answer(box: QMessageBox) -> int:
        asked.append((box.textFormat(), box.text()))
        return 0

    monkeypatch.setattr(QMessageBox, "exec", answer)
    cards = LocalModels(Desk(tmp_path, HostLink(tmp_path)), lambda: None)
    rows = model_rows({DIGEST: ENTRY}, [], lambda _: None, 10**9, is_running=False)
    cards.show_models(list(rows), "", anew=True)
    remove = next(one for one in cards.findChildren(QPushButton) if one.text() == "Remove …")
    remove.click()
    ((form, text),) = asked
    assert form is Qt.TextFormat.PlainText
    assert "/srv/<b>models</b>/mine.gguf" in text
