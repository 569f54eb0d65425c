"""What is fetched for what was typed, beside what the stewards signed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="THE PAGE OF MODELS IS NOT TESTED: run install.py --display-libraries as root",
    exc_type=ImportError,
)

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.pages.models_page import ModelsPage
from tests.peer.desktop.samples import EMBEDDED, MIDDLE, catalogue, network_model, seen

# By a coordinator that tells more than was signed; the signed catalogue has lower case only.
FORGED = network_model("Best-Model", 9)


@pytest.mark.parametrize("wanted", ["Best-Model", "best-model", "09" * 32, MIDDLE.name])
def test_what_is_not_as_signed_is_not_fetched_however_it_is_called(
    application: Any, tmp_path: Path, wanted: str
) -> None:
    desk = Desk(tmp_path, HostLink(tmp_path))
    said: list[str] = []
    desk.said.connect(lambda sentence, _: said.append(sentence))
    told = catalogue(models=[EMBEDDED, MIDDLE, FORGED])
    desk.link.state = replace(seen(), catalogue=told)
    page = ModelsPage(desk)
    page.network.signed = {
        EMBEDDED.name: (EMBEDDED.digest.hex(), "small", 8192, "Apache-2.0"),
        MIDDLE.name: ("00" * 32, "small", 8192, "Apache-2.0"),
    }
    page.wanted.setText(wanted)
    page.fetch_button.setEnabled(True)
    page.fetch_button.click()
    assert said == [f"{wanted} is not what the stewards signed: it is not fetched."]
