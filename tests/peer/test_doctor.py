import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from peerllm.crypto.identity import Identity
from peerllm.peer import doctor
from peerllm.peer.commands import host_app
from peerllm.peer.doctor import Finding, examine
from peerllm.peer.host_settings import HostSettings, save_settings
from tests.peer.gguf_files import tiny_gguf

COORDINATOR = f"/ip4/127.0.0.1/tcp/1/p2p/{Identity.from_seed(b'c' * 32).peer_id}"


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the real one takes a second and is tested once."""
    monkeypatch.setattr(doctor, "_LIBRARY_CHECK", "pass")


def findings(directory: Path) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine(directory)}


def test_a_machine_that_has_everything(tmp_path: Path) -> None:
    done = CliRunner().invoke(host_app, ["doctor", "--data-directory", str(tmp_path / "new")])
    lines = done.stdout.splitlines()
    assert done.exit_code == 0, done.stdout
    # And a line for each limit that has no effect on the machine of the test.
    assert lines[8].startswith("note     senses: told here: idle")
    told = lines[8].split(": ")[2].split(", ")
    assert len(lines) == 9 + 6 - len(told)
    assert not (tmp_path / "new").exists()
    library, model = lines[1], lines[5]
    assert library.startswith("ok       inference library: llama-cpp-python 0.3")
    assert "134 M parameters, takes 5" in model


@pytest.mark.usefixtures("without_library")
def test_what_is_missing_is_one_line_each(tmp_path: Path) -> None:
    tiny = tmp_path / "tiny.gguf"
    tiny.write_bytes(tiny_gguf())
    save_settings(tmp_path, HostSettings(coordinator=COORDINATOR, models=[str(tiny)]))
    (tmp_path / "limits.json").write_text("{")
    (tmp_path / "identity").write_text("damaged")
    (tmp_path / "control.json").write_text('{"port": 1, "token": "t", "process_id": 1}')
    found = findings(tmp_path)
    assert "limits.json cannot be read" in found["settings"].sentence
    assert "carries no chat template" in found["model"].sentence
    assert found["coordinator"].sentence == "nothing answers at 127.0.0.1, port 1"
    assert found["host"].sentence.endswith("ended without putting away")
    faulty = {subject for subject, finding in found.items() if finding.is_well is False}
    assert faulty == {"settings", "model", "coordinator", "identity"}
    done = CliRunner().invoke(host_app, ["doctor", "--data-directory", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stdout.count("MISSING") == 4


@pytest.mark.usefixtures("without_library")
def test_too_little_memory_is_said_before_anything_starts(tmp_path: Path) -> None:
    settings = HostSettings(coordinator=COORDINATOR, slots=64, context=8192)
    save_settings(tmp_path, settings)
    sentence = findings(tmp_path)["model"].sentence
    # 64 answers of 8192 tokens: 12 GB of cache. Machines differ in whether they have it.
    assert "takes 12" in sentence


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "another processor"),
        ("raise RuntimeError('the library is gone')", "the library is gone"),
    ],
)
def test_a_library_that_cannot_be_loaded_is_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str, said: str
) -> None:
    monkeypatch.setattr(doctor, "_LIBRARY_CHECK", check)
    finding = findings(tmp_path)["inference library"]
    assert finding.is_well is False
    assert said in finding.sentence


@pytest.mark.usefixtures("without_library")
def test_a_limit_that_has_no_effect_is_a_note_also_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'no bus'}")
    done = CliRunner().invoke(host_app, ["doctor", "--data-directory", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.stdout
    found = {one["subject"]: one for one in json.loads(done.stdout)}
    for limit, why, so in (
        ("metered network", "no message bus (D-Bus)", "no effect"),
        ("full screen", "this desktop (Wayland)", "no effect"),
        ("sleep", "no message bus (D-Bus)", "are cut"),
    ):
        assert found[limit]["is_well"] is None
        assert why in found[limit]["sentence"]
        assert so in found[limit]["sentence"]
    (tmp_path / "limits.json").write_text("{")
    damaged = CliRunner().invoke(host_app, ["doctor", "--data-directory", str(tmp_path), "--json"])
    assert damaged.exit_code == 1
    assert {one["is_well"] for one in json.loads(damaged.stdout)} == {True, False, None}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.usefixtures("without_library")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written" in findings(tmp_path / "new")["data directory"].sentence
