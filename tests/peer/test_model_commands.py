from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from peerllm.peer import benchmark
from peerllm.peer.catalogue import LocalCatalogue
from peerllm.peer.model_commands import model_app
from peerllm.peer.models import EMBEDDED_MODEL
from tests.peer.gguf_files import tiny_gguf


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "absent"], "no model called 'absent'"),
        (["remove", "absent"], "no model called 'absent'"),
        (["add", "/nowhere/at/all.gguf"], "cannot be read"),
        (["benchmark", "absent", "--slots", "0"], "slots must be from 1 to 64, got 0"),
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
    monkeypatch.setattr(benchmark, "_TOKENS", -1)
    monkeypatch.setattr(benchmark, "_PROMPT_WORDS", 8)
    command(tmp_path, "add")
    done = command(tmp_path, "benchmark", EMBEDDED_MODEL.name, "--slots", "4", "--threads", "1")
    assert done.exit_code == 1
    assert "too short to measure 1 at once" in done.stderr
    _, model = LocalCatalogue(tmp_path / "data").find(EMBEDDED_MODEL.name)
    assert model.benchmark is None


def test_the_real_model_is_measured_and_the_figures_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for figures, not for good ones.
    monkeypatch.setattr(benchmark, "_PROMPT_WORDS", 8)
    monkeypatch.setattr(benchmark, "_TOKENS", 8)
    assert command(tmp_path, "add").exit_code == 0
    measured = command(tmp_path, "benchmark", EMBEDDED_MODEL.name, "--slots", "2", "--threads", "1")
    assert measured.exit_code == 0, measured.stderr
    assert measured.stdout.startswith("1 threads: prompt ")
    _, model = LocalCatalogue(tmp_path / "data").find(EMBEDDED_MODEL.name)
    assert model.benchmark is not None
    assert (model.benchmark.threads, model.benchmark.slots) == (1, 2)
    assert min(model.benchmark.prefill_milli, model.benchmark.decode_milli) > 0
    assert model.benchmark.build.startswith("llama-cpp-python")
    assert "1 threads" in command(tmp_path, "list").stdout
