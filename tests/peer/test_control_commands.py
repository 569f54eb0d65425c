import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from peerllm.crypto.identity import Identity
from peerllm.overlay.messages import SeatPause
from peerllm.peer import doctor
from peerllm.peer.benchmark import build
from peerllm.peer.commands import host_app
from peerllm.peer.control_commands import describe_pause
from peerllm.peer.files import read_state
from peerllm.peer.limits import UNATTENDED, Limits, ScheduleWindow
from peerllm.peer.measurements import Measurement, Measurements
from peerllm.peer.model_commands import model_app
from peerllm.peer.models import EMBEDDED_MODEL, embedded_model_path
from peerllm.peer.tuning import hardware

COORDINATOR = f"/ip4/127.0.0.1/tcp/1/p2p/{Identity.from_seed(b'c' * 32).peer_id}"


def command(tmp_path: Path, name: str, *rest: str) -> Result:
    return CliRunner().invoke(host_app, [name, "--data-directory", str(tmp_path), *rest])


def model_command(tmp_path: Path, name: str, *rest: str) -> Result:
    return CliRunner().invoke(model_app, [name, "--data-directory", str(tmp_path), *rest])


def mend_its_only_model(tmp_path: Path, file: Path) -> None:
    """The host lives on without a model, says why, and takes the file once it is whole."""
    refused = model_command(tmp_path, "load", "mine")
    assert refused.exit_code == 1
    assert f"unavailable: the model file {file} is damaged" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.removeprefix("peerllm: ") in command(tmp_path, "status").stdout
    file.unlink()
    file.symlink_to(embedded_model_path())
    loaded = model_command(tmp_path, "load", "mine")
    assert loaded.exit_code == 0, loaded.stderr
    assert "; ready; " in loaded.stdout
    model_command(tmp_path, "add", str(file), "--name", "mine")
    assert model_command(tmp_path, "list").stdout.splitlines()[1].endswith("ready")
    assert "not loaded: unloaded by its owner" in model_command(tmp_path, "unload", "mine").stdout
    assert model_command(tmp_path, "list").stdout.splitlines()[1].endswith("not loaded")
    for name in ("load", "unload"):
        assert "'absent'" in model_command(tmp_path, name, "absent").stderr
        assert "the body is not right" in model_command(tmp_path, name, "two\nlines").stderr


def move_its_file(tmp_path: Path, file: Path) -> None:
    """A model whose file was moved is loaded from where the catalogue has it now."""
    moved = file.with_name("moved.gguf")
    file.rename(moved)
    assert "cannot be read" in model_command(tmp_path, "load", "mine").stderr
    model_command(tmp_path, "add", str(moved))
    loaded = model_command(tmp_path, "load", "mine")
    assert loaded.exit_code == 0, loaded.stderr
    assert "; ready; " in loaded.stdout


def lose_its_catalogue(tmp_path: Path) -> None:
    """The host lives on when its catalogue cannot be read, and says so."""
    catalogue, aside = tmp_path / "models.json", tmp_path / "aside.json"
    catalogue.rename(aside)
    catalogue.mkdir()
    refused = model_command(tmp_path, "load", "absent").stderr
    assert refused == f"peerllm: {catalogue} cannot be read: Is a directory\n"
    catalogue.rmdir()
    aside.rename(catalogue)


def see_what_it_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor tells what the host sees of the screen, not what this command would."""
    monkeypatch.setattr(doctor, "_LIBRARY_CHECK", "pass")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    found = json.loads(command(tmp_path, "doctor", "--json").stdout)
    sentences = {one["subject"]: one["sentence"] for one in found}
    assert sentences["host"] == "runs"
    assert "no display is to be seen" in sentences["full screen"]


def test_a_host_in_the_background_lives_until_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "mine.gguf"
    with embedded_model_path().open("rb") as whole:
        file.write_bytes(whole.read(200_000))
    # Known already: measuring takes long, and is shown elsewhere.
    measured = Measurement(
        threads=1,
        slots=2,
        prefill_milli=1,
        decode_milli=1,
        decode_all_milli=1,
        build=build(),
        hardware=hardware(),
    )
    Measurements(tmp_path).remember(EMBEDDED_MODEL.digest, measured)
    started = command(tmp_path, "start", "--coordinator", COORDINATOR, "--model", str(file))
    assert started.exit_code == 0, started.stderr
    assert started.stdout.startswith("waiting")
    try:
        mend_its_only_model(tmp_path, file)
        move_its_file(tmp_path, file)
        lose_its_catalogue(tmp_path)
        status = json.loads(command(tmp_path, "status", "--json").stdout)
        process_id = json.loads((tmp_path / "control.json").read_text())["process_id"]
        os.kill(process_id, 0)
        assert (status["version"], status["connected"]) == (1, False)
        assert "already runs" in command(tmp_path, "start").stderr
        assert "already runs" in command(tmp_path, "run", "--coordinator", COORDINATOR).stderr
        fetched = model_command(tmp_path, "fetch", "mystery")
        assert "no coordinator that knows who holds models is connected" in fetched.stderr
        see_what_it_sees(tmp_path, monkeypatch)
        assert "since" in command(tmp_path, "pause").stdout
        logged = [json.loads(line) for line in command(tmp_path, "logs").stdout.splitlines()]
        assert logged[0]["event"] == "starting"
        assert "holding" in {line["event"] for line in logged}
        shown = command(tmp_path, "earnings").stdout
        assert shown.startswith("account  not known")
        assert "in all  0 receipts" in shown
    finally:
        stopped = command(tmp_path, "stop")
    assert stopped.stdout == "stopped\n"
    assert not (tmp_path / "control.json").exists()
    assert "since" not in command(tmp_path, "status").stdout
    # Paused stays paused, and the settings are remembered. Nobody watches this host.
    unattended = msgspec.structs.replace(UNATTENDED, paused=True)
    assert read_state(tmp_path / "limits.json", Limits) == unattended
    settings = json.loads((tmp_path / "host.json").read_text())
    assert settings["coordinator"] == COORDINATOR
    assert settings["models"] == [str(file)]


@pytest.mark.parametrize("name", ["load", "unload"])
def test_models_are_loaded_by_a_running_host(tmp_path: Path, name: str) -> None:
    assert "no host runs from" in model_command(tmp_path, name, "mine").stderr


@pytest.mark.parametrize("name", ["status", "pause", "resume", "drain", "stop", "logs"])
def test_without_a_host_it_is_said_how_to_start_one(tmp_path: Path, name: str) -> None:
    done = command(tmp_path, name)
    assert done.exit_code == 1
    assert done.stderr == (
        f"peerllm: no host runs from {tmp_path}: start it with peerllm host start\n"
    )


def test_a_control_file_left_by_a_crash_is_no_running_host(tmp_path: Path) -> None:
    (tmp_path / "control.json").write_text('{"port": 1, "token": "t", "process_id": 1}')
    assert "no host runs from" in command(tmp_path, "status").stderr
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait(10)
    # Another program has the port meanwhile.
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        left = {"port": server.getsockname()[1], "token": "t", "process_id": ended.pid}
        (tmp_path / "control.json").write_text(json.dumps(left))
        assert "no host runs from" in command(tmp_path, "status").stderr
        with pytest.raises(BlockingIOError):
            server.accept()
    (tmp_path / "control.json").write_text('{"port": 0}')
    assert "cannot be read" in command(tmp_path, "status").stderr
    (tmp_path / "control.json").write_text(
        '{"version": 2, "port": 1, "token": "t", "process_id": 1}'
    )
    assert "version 2" in command(tmp_path, "status").stderr


def test_the_first_start_needs_a_coordinator(tmp_path: Path) -> None:
    assert "name its --coordinator" in command(tmp_path, "start").stderr


def test_a_host_that_ends_at_once_says_why(tmp_path: Path) -> None:
    done = command(tmp_path, "start", "--coordinator", "nowhere")
    assert done.exit_code == 1
    assert "the host ended: the coordinator's address must look like" in done.stderr
    assert done.stderr.count("\n") == 1


def test_limits_can_be_set_while_nothing_runs(tmp_path: Path) -> None:
    done = command(
        tmp_path,
        "limits",
        *("--schedule", "mon-fri 18:00-08:00", "--schedule", "sat,sun 00:00-24:00"),
        *("--threads", "2", "--memory-cap-mb", "1000", "--on-battery", "--bandwidth-kib", "64"),
        "--share-models",
    )
    assert done.exit_code == 0, done.stderr
    assert "schedule mon,tue,wed,thu,fri 18:00-08:00, sat,sun 00:00-24:00" in done.stdout
    assert read_state(tmp_path / "limits.json", Limits) == Limits(
        schedule=[
            ScheduleWindow(days=[0, 1, 2, 3, 4], start_minute=1080, end_minute=480),
            ScheduleWindow(days=[5, 6], start_minute=0, end_minute=1440),
        ],
        share_models=True,
        threads=2,
        memory_cap_bytes=1_000_000_000,
        on_battery=True,
        bandwidth_bytes_per_second=65536,
    )
    command(tmp_path, "limits", "--schedule", "always", "--threads", "0")
    kept = read_state(tmp_path / "limits.json", Limits)
    assert kept
    assert (kept.schedule, kept.threads, kept.on_battery) == ([], 0, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--nice", "20"], "$.nice"),
        (["--threads", "-1"], "$.threads"),
        (["--bandwidth-kib", "1"], "at least 65536 bytes/s, got 1024"),
        (["--schedule", "whenever"], "a schedule reads like"),
    ],
)
def test_a_wrong_limit_is_one_sentence(tmp_path: Path, options: list[str], said: str) -> None:
    done = command(tmp_path, "limits", *options)
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "limits.json").exists()


@pytest.mark.parametrize("until_us", [0, 4_102_444_800_000_000])
def test_a_pause_by_the_network_is_told_with_its_way_back(until_us: int) -> None:
    told = describe_pause(SeatPause(reason="slow", way_back="serve less", until_us=until_us))
    year = "1970" if until_us == 0 else "2100"
    assert told.startswith(f"by the network (slow) until {year}-01-01 00:00+00:00; ")
    assert told.endswith("the way back: serve less")
