import subprocess
import sys
from pathlib import Path

ENTRY = Path(__file__).parents[3] / "packaging" / "entry.py"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(ENTRY), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_packaged_program_starts_its_own_parts_and_no_others(tmp_path: Path) -> None:
    own = run("-P", "-m", "peerllm.peer", "identity", f"--data-directory={tmp_path}")
    assert own.stdout.startswith("12D3Koo"), own.stderr
    assert (tmp_path / "identity").is_file()
    other = run("-P", "-m", "http.server")
    assert other.returncode == 1
    assert "not part of this program" in other.stderr
