"""The log of a host in the background, as the host's own process writes it."""

import json
import subprocess
import sys
from pathlib import Path

# A host that is paused and resumed without end, and whose log is large at 2,000 bytes.
WRITER = """
import sys
from functools import partial
from pathlib import Path
from peerllm.peer import detached
from peerllm.peer.recent_log import RecentLog
from peerllm.privacy.event_log import EventLog
detached._LARGEST_LOG_BYTES = 2_000
log = EventLog(int, RecentLog(sys.stderr, partial(detached.turn_over, Path(sys.argv[1]))))
for number in range(1_000):
    log.event("holding", number=number)
print("the last word", flush=True)
"""


def write(log: Path, output: Path) -> None:
    with output.open("ab") as file:
        command = [sys.executable, "-c", WRITER, str(log)]
        subprocess.run(command, stdout=file, stderr=file, check=True, timeout=60)


def test_a_log_is_turned_over_while_its_host_runs(tmp_path: Path) -> None:
    log = tmp_path / "host.log"
    write(log, log)
    before = log.with_suffix(".log.1")
    assert sorted(tmp_path.iterdir()) == [log, before]
    assert log.stat().st_size < 2_100 > before.stat().st_size
    *lines, last = before.read_text().splitlines() + log.read_text().splitlines()
    assert last == "the last word"
    numbers = [json.loads(line)["number"] for line in lines]
    # No line is lost or cut between the two.
    assert numbers == list(range(1_000 - len(numbers), 1_000))
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_file_of_the_owner_s_is_not_turned_over(tmp_path: Path) -> None:
    write(tmp_path / "host.log", tmp_path / "mine.log")
    (tmp_path / "host.log").touch()
    write(tmp_path / "host.log", tmp_path / "mine.log")
    assert (tmp_path / "mine.log").read_bytes().count(b"\n") == 2 * 1_001
    assert not (tmp_path / "host.log").stat().st_size
