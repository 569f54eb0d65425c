import hashlib
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from peerllm.peer import benchmark
from peerllm.peer.catalogue import LocalCatalogue, find_model
from peerllm.peer.legacy_format import LegacyFormat
from peerllm.peer.measurements import Measurements
from peerllm.peer.model_commands import model_app
from peerllm.peer.models import EMBEDDED_MODEL
from peerllm.peer.tuning import hardware
from tests.peer.gguf_files import tiny_gguf
from tests.peer.legacy_files import gpt2_file


def command(tmp_path: Path, name: str, *rest: str) -> Result:
    options = ["--data-directory", str(tmp_path / "data")]
    return CliRunner().invoke(model_app, [name, *options, *rest])


def test_a_model_is_added_listed_verified_and_removed(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(tiny_gguf())
    assert "no models" in command(tmp_path, "list").stdout
    added = command(tmp_path, "add", str(file), "--name", "mine")
    digest = added.stdout.split()[1]
    listed = command(tmp_path, "list").stdout.splitlines()[1]
    assert listed.split()[:3] == ["mine", digest[:12], "llama"]
    assert "not measured" in listed
    assert command(tmp_path, "verify").stdout == "mine: whole\n"
    file.write_bytes(tiny_gguf()[:-1] + b"!")
    altered = command(tmp_path, "verify", "mine")
    assert altered.exit_code == 1
    assert "altered" in altered.stdout
    assert command(tmp_path, "remove", "mine").exit_code == 0
    assert file.is_file()
    assert "no models" in command(tmp_path, "list").stdout
    command(tmp_path, "add", str(file), "--name", "again")
    command(tmp_path, "remove", "again", "--delete-file")
    assert not file.exists()


def test_a_file_of_the_installation_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "installed.gguf"
    file.write_bytes(tiny_gguf())
    monkeypatch.setattr("peerllm.peer.models.embedded_model_path", lambda: file)
    command(tmp_path, "add", str(file), "--name", "mine")
    refused = command(tmp_path, "remove", "mine", "--delete-file")
    assert refused.exit_code == 1
    assert "part of PeerLLM's installation and stays" in refused.stderr
    assert file.exists()
    assert "mine" in command(tmp_path, "list").stdout
    assert command(tmp_path, "remove", "mine").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "absent"], "no model called 'absent'"),
        (["remove", "absent"], "no model called 'absent'"),
        (["add", "/nowhere/at/all.gguf"], "cannot be read"),
        (["benchmark", "absent", "--slots", "-1"], "slots must be from 0 to 64, got -1"),
    ],
)
def test_what_goes_wrong_is_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = command(tmp_path, *arguments)
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_answers_too_short_to_measure_give_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One token an answer: nothing lies between the first and the last.
    monkeypatch.setattr(benchmark, "_PASSES", 0)
    monkeypatch.setattr(benchmark, "_PROMPT_WORDS", 8)
    command(tmp_path, "add")
    done = command(tmp_path, "benchmark", EMBEDDED_MODEL.name, "--slots", "4", "--threads", "1")
    assert done.exit_code == 1
    assert "too short to measure 1 at once" in done.stderr
    assert Measurements(tmp_path / "data").of(EMBEDDED_MODEL.digest) is None


def test_the_real_model_is_measured_and_the_figures_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for figures, not for good ones.
    monkeypatch.setattr(benchmark, "_PROMPT_WORDS", 8)
    monkeypatch.setattr(benchmark, "_PASSES", 8)
    assert command(tmp_path, "add").exit_code == 0
    measured = command(tmp_path, "benchmark", EMBEDDED_MODEL.name, "--slots", "2", "--threads", "1")
    assert measured.exit_code == 0, measured.stderr
    assert measured.stdout.startswith("1 threads: prompt ")
    kept = Measurements(tmp_path / "data").of(EMBEDDED_MODEL.digest)
    assert kept is not None
    assert (kept.threads, kept.slots) == (1, 2)
    assert min(kept.prefill_milli, kept.decode_milli) > 0
    assert kept.build.startswith("llama-cpp-python")
    assert kept.hardware == hardware()
    assert "1 threads" in command(tmp_path, "list").stdout


def test_a_legacy_file_is_added_by_its_owners_word_only(tmp_path: Path) -> None:
    file = tmp_path / "old.bin"
    file.write_bytes(gpt2_file())
    digest = hashlib.sha256(gpt2_file()).hexdigest()
    template = tmp_path / "chat.j2"
    template.write_text("{{ messages[0].content }}")
    assert "not a GGUF model file" in command(tmp_path, "add", str(file)).stderr
    legacy = ["--engine", "ctransformers", "--architecture", "gpt2", "--digest", digest]
    added = command(tmp_path, "add", str(file), *legacy, "--chat-template", str(template))
    assert added.exit_code == 0
    assert added.stdout == f"old {digest}\n"
    assert "Add only files whose source you trust" in added.stderr
    assert "gpt2 (ctransformers)" in command(tmp_path, "list").stdout
    assert command(tmp_path, "verify").stdout == "old: whole\n"
    # The template is kept, not the place where it was.
    template.unlink()
    model = LocalCatalogue(tmp_path / "data").model_file(digest)
    assert model.legacy == LegacyFormat(
        architecture="gpt2", chat_template="{{ messages[0].content }}"
    )
    assert find_model(tmp_path / "data", "old").legacy == model.legacy
    file.write_bytes(gpt2_file()[:-4])
    assert "damaged or no gpt2 model" in command(tmp_path, "verify").stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "ctransformers"], "needs --architecture: one of gpt2, llama"),
        (["--architecture", "gpt2"], "are for --engine ctransformers"),
        (["--chat-template", "/chat.j2"], "are for --engine ctransformers"),
        (["--digest", "0" * 63], "64 hexadecimal digits, got 63"),
        (["--digest", "0" * 64], "expected 0000"),
        (["--engine", "ctransformers", "--architecture", "gpt2"], "which is for llama.cpp"),
        (["--template-file", b"{% for"], "chat template cannot be read"),
        (["--template-file", b"\xff"], "is no text in UTF-8"),
        (["--template-file", b" \n"], "must have 1 to 16384 bytes"),
        (["--template-file", b"x" * 16_385], "must have 1 to 16384 bytes"),
    ],
)
def test_what_is_wrong_with_a_legacy_model_is_said(
    tmp_path: Path, options: list[str | bytes], said: str
) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(tiny_gguf())
    if options[0] == "--template-file":
        template = tmp_path / "chat.j2"
        template.write_bytes(bytes(options[1]))
        options = ["--engine", "ctransformers", "--architecture", "gpt2"]
        options += ["--chat-template", str(template)]
    done = command(tmp_path, "add", str(file), *map(str, options))
    assert done.exit_code == 1
    assert said in done.stderr.splitlines()[-1]
    assert not LocalCatalogue(tmp_path / "data").models()
    assert command(tmp_path, "add", "--engine", "ctransformers").exit_code == 1
    assert command(tmp_path, "add", "--digest", "0" * 64).exit_code == 1


def test_a_legacy_model_is_measured_with_its_one_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "_PROMPT_WORDS", 8)
    # More than one piece of the daemon's: so small a model answers at once.
    monkeypatch.setattr(benchmark, "_PASSES", 60)
    file = tmp_path / "old.bin"
    file.write_bytes(gpt2_file())
    command(tmp_path, "add", str(file), "--engine", "ctransformers", "--architecture", "gpt2")
    measured = command(tmp_path, "benchmark", "old", "--slots", "4", "--threads", "1")
    assert measured.exit_code == 0, measured.stderr
    digest, _ = LocalCatalogue(tmp_path / "data").find("old")
    kept = Measurements(tmp_path / "data").of(bytes.fromhex(digest))
    assert kept is not None
    assert kept.slots == 1
    assert kept.build == "ctransformers 0.2.27"
