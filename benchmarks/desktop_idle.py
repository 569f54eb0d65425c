"""What the window costs while nothing happens: time to the first paint, processor, memory.

    Xvfb :9 -screen 0 1600x1200x24 & DISPLAY=:9 python -m benchmarks.desktop_idle --seconds 60

A real host runs beside it, without a coordinator to reach: it tries again and again, and every
attempt shows in the window. The host's own cost is not counted.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from peerllm.crypto.identity import Identity
from peerllm.peer.benchmark import build
from peerllm.peer.control_client import ControlClient, ControlError
from peerllm.peer.measurements import Measurement, Measurements
from peerllm.peer.models import EMBEDDED_MODEL
from peerllm.peer.tuning import hardware

# Prints when the window was first painted, in seconds since the process was made.
MEASURED = """
import sys, time
import psutil
from pathlib import Path
from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QApplication
from peerllm.peer.desktop import application

class FirstPaint(QObject):
    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint:
            seconds = time.time() - psutil.Process().create_time()
            print(f"painted {seconds:.3f} {time.process_time():.3f}", flush=True)
            QApplication.instance().removeEventFilter(self)
        return False

original = application.choose_font
def choose_font(app):
    app._first_paint = FirstPaint()
    app.installEventFilter(app._first_paint)
    original(app)
application.choose_font = choose_font
raise SystemExit(application.run_desktop(Path(sys.argv[1]), hidden=False))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, host(Path(folder)):
        paints, works = [], []
        for _ in range(options.starts):
            window, painted, worked = open_window(Path(folder))
            paints.append(painted)
            works.append(worked)
            close(window)
        print(
            f"first paint after the start of the process: median {statistics.median(paints):.2f} s,"
            f" {min(paints):.2f} to {max(paints):.2f} s, {options.starts} starts; "
            f"processor time until then: median {statistics.median(works):.2f} s"
        )
        window, _, _ = open_window(Path(folder))
        # Figures, chart and models are loaded after the first paint.
        time.sleep(5)
        process = psutil.Process(window.pid)
        before, began = process.cpu_times(), time.monotonic()
        time.sleep(options.seconds)
        after, spent = process.cpu_times(), time.monotonic() - began
        used = after.user + after.system - before.user - before.system
        memory = process.memory_full_info()
        print(f"idle for {spent:.0f} s: {100 * used / spent:.2f}% of one core")
        print(f"memory: {memory.rss / 1e6:.0f} MB resident, {memory.uss / 1e6:.0f} MB its own")
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        close(window)


@contextlib.contextmanager
def host(folder: Path) -> Iterator[None]:
    measured = Measurement(
        threads=1,
        slots=2,
        prefill_milli=1,
        decode_milli=1,
        decode_all_milli=1,
        build=build(),
        hardware=hardware(),
    )
    Measurements(folder).remember(EMBEDDED_MODEL.digest, measured)
    coordinator = f"/ip4/127.0.0.1/tcp/1/p2p/{Identity.from_seed(b'c' * 32).peer_id}"
    command = [sys.executable, "-P", "-m", "peerllm.peer"]
    place = f"--data-directory={folder}"
    subprocess.run([*command, "start", place, f"--coordinator={coordinator}"], check=True)
    try:
        yield
    finally:
        with contextlib.suppress(ControlError):
            process_id = ControlClient(folder).process_id
            subprocess.run([*command, "stop", place], check=True)
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(process_id).wait(30)


def open_window(folder: Path) -> "tuple[subprocess.Popen[str], float, float]":
    window = subprocess.Popen(
        [sys.executable, "-P", "-c", MEASURED, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert window.stdout is not None
    line = window.stdout.readline()
    painted, worked = line.removeprefix("painted ").split()
    return window, float(painted), float(worked)


def close(window: "subprocess.Popen[str]") -> None:
    window.terminate()
    assert window.wait(timeout=15) == 0


if __name__ == "__main__":
    main()
