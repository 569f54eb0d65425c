"""An engine process as a test speaks to it: over its pipes, without a daemon."""

import os
import subprocess
import sys

from peerllm.peer.engine_protocol import FrameReader, FromEngine, ToEngine, frame, from_engine


class RunningProcess:
    """An engine process under test, spoken to over its pipes."""

    def __init__(
        self,
        environment: dict[str, str] | None = None,
        module: str = "peerllm.peer.engine_process",
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        self._reader = FrameReader()
        self._received: list[FromEngine] = []

    def send(self, message: ToEngine) -> None:
        self.send_raw(frame(message))

    def send_raw(self, raw: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(raw)
        self._process.stdin.flush()

    def receive(self) -> FromEngine:
        assert self._process.stdout
        while not self._received:
            raw = os.read(self._process.stdout.fileno(), 1 << 16)
            assert raw, "the engine ended"
            self._received += map(from_engine, self._reader.feed(raw))
        return self._received.pop(0)

    def receive_until(self, *kinds: type[FromEngine]) -> list[FromEngine]:
        received = [self.receive()]
        while not isinstance(received[-1], kinds):
            received.append(self.receive())
        return received

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self.end()

    def end(self) -> tuple[int, bytes]:
        """Close the pipe; gives the exit code and whatever was printed after all."""
        rest, errors = self._process.communicate(timeout=10)
        return self._process.returncode, rest + errors
