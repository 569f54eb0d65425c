"""The house itself: which room may import which, and that a wheel carries every room whole."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("charter", "cli", "coordinator", "crypto", "overlay", "peer", "privacy", "safety")
MAY_IMPORT = {
    "crypto": set(),
    "privacy": set(),
    "safety": set(),
    "charter": {"crypto"},
    "overlay": {"crypto"},
    "peer": {"overlay", "crypto", "privacy"},
    "coordinator": {"charter", "crypto", "safety", "overlay", "privacy"},
    "cli": set(ROOMS) - {"cli"},
}


def rooms_imported_by(path: Path) -> set[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # A relative import would hide the room it comes from.
            assert node.level == 0, f"{path} imports relatively"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.append(node.value)
    return {
        name.split(".")[1]
        for name in names
        if name.startswith("peerllm.") and name.split(".")[1] in ROOMS
    }


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    for path in (ROOT / room).rglob("*.py"):
        forbidden = rooms_imported_by(path) - allowed
        assert not forbidden, f"{path.relative_to(ROOT)} imports {forbidden}"


def test_the_import_check_sees_a_forbidden_import(tmp_path: Path) -> None:
    offender = tmp_path / "offender.py"
    offender.write_text("from peerllm.coordinator import ledger\n")
    assert rooms_imported_by(offender) == {"coordinator"}


def test_no_other_pin_of_libp2p_slips_in() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "libp2p==0.8.1" in project["dependencies"]


def test_locks_name_no_host() -> None:
    for lock in (ROOT / "locks").iterdir():
        assert "://" not in lock.read_text()


def test_a_wheel_holds_every_module_and_data_file(tmp_path: Path) -> None:
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        f"peerllm/{path.relative_to(ROOT)}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= packed, sorted(expected - packed)
