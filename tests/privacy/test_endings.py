import subprocess
import sys

_PROGRAM = """
import typer
from peerllm.privacy.endings import clear_endings
with clear_endings():
    for _ in range(100_000):
        typer.echo("a line of output")
"""


def test_a_reader_that_has_seen_enough_is_no_bug() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert b"bug" not in said
    assert b"BrokenPipe" not in said
    assert process.returncode != 0
