"""llama.cpp's own server as the other side of a comparison.

The package `xllamacpp` carries it ready built; it runs in a process of its own, by a Python that
has the package, and is spoken to over HTTP as its users do.
"""

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

# Everything that is not set here is the server's default; it ends with its standard input.
_PROGRAM: Final = """
import json, sys
import xllamacpp
wanted = json.loads(sys.argv[1])
parameters = xllamacpp.CommonParams()
parameters.model.path = wanted["model"]
parameters.n_parallel = wanted["slots"]
parameters.n_ctx = wanted["slots"] * wanted["context_tokens"]
parameters.cpuparams.n_threads = wanted["threads"]
parameters.cpuparams_batch.n_threads = wanted["threads"]
parameters.port = wanted["port"]
parameters.verbosity = -1
server = xllamacpp.Server(parameters)
said = {"address": server.listening_address, "release": xllamacpp.__version__,
        "system": xllamacpp.get_system_info()}
print("\\n" + json.dumps(said), flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class LlamaServer:
    """A running server."""

    host: str
    port: int
    process_id: int
    release: str
    system: str

    async def stream(self, content: str, max_tokens: int) -> AsyncIterator[dict[str, Any]]:
        """The server's events for one question: greedy, and never ended by the model."""
        body = {
            "messages": [{"role": "user", "content": content}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "ignore_eos": True,
            "stream_options": {"include_usage": True},
        }
        raw = json.dumps(body).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self.host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n"
            "Connection: close\r\n\r\n"
        )
        stream = await trio.open_tcp_stream(self.host, self.port)
        async with stream:
            await stream.send_all(head.encode() + raw)
            held = b""
            async for received in stream:
                held += received
                *lines, held = held.split(b"\n")
                for line in lines:
                    if line.startswith(b"data: {"):
                        yield json.loads(line[6:])
                    elif line.startswith(b"data: [DONE]"):
                        return


@contextmanager
def running_llama_server(
    python: Path, model: Path, *, slots: int, context_tokens: int, threads: int, port: int
) -> Iterator[LlamaServer]:
    """Start a server and end it with the block."""
    wanted = {
        "model": str(model),
        "slots": slots,
        "context_tokens": context_tokens,
        "threads": threads,
        "port": port,
    }
    with subprocess.Popen(
        [str(python), "-c", _PROGRAM, json.dumps(wanted)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            said = next(json.loads(line) for line in process.stdout or () if line[:1] == b"{")
            host, _, at = said["address"].removeprefix("http://").rpartition(":")
            yield LlamaServer(host, int(at), process.pid, said["release"], said["system"])
        finally:
            process.kill()
