import errno
import os
import subprocess
import sys

import pytest
import typer

from peerllm.privacy.endings import CRASHED, FAILED, clear_endings

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


def test_what_is_not_utf8_is_no_bug_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    given = "caf\udce9"
    with pytest.raises(typer.Exit) as ended, clear_endings():
        given.encode()
    assert ended.value.exit_code == FAILED
    assert capsys.readouterr().err == "peerllm: what was given is not UTF-8\n"
    places: list[str] = []
    with pytest.raises(typer.Exit) as ended, clear_endings(crashed=places.append):
        given.encode()
    assert (ended.value.exit_code, len(places)) == (CRASHED, 1)


def test_a_full_disk_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, clear_endings():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert ended.value.exit_code == FAILED
    said = capsys.readouterr().err
    assert said == f"peerllm: {os.strerror(errno.ENOSPC)}: make room and try again\n"
