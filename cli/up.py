"""`peerllm up`: a coordinator and three hosts on this machine, and one real question answered."""

import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import openai
import psutil
import trio
import typer
from rich.console import Console

from peerllm.charter.defaults import FIRST_MODEL
from peerllm.cli.local_network import (
    POLL_SECONDS,
    STOP_SECONDS,
    LocalNetwork,
    Part,
    UpError,
    prepare,
    running,
    stop_leftovers,
    up_file,
    wait_until_ready,
    write_up_file,
)
from peerllm.cli.retention import find_content, needles_in
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.service import PortInUseError, refuse_taken_port
from peerllm.coordinator.statement import HostLine, Statement
from peerllm.crypto.errors import CryptoError
from peerllm.privacy.endings import clear_endings

FIRST_QUESTION = "Name three primary colours."
# Coordinator 300 MB, three engines of 500 MB each with their caches, and room to breathe.
NEEDED_MEMORY_BYTES = 2_000_000_000
ANSWER_TOKENS = 128
ANSWER_SECONDS = 120.0

up_app = typer.Typer(
    add_completion=False, help="Start a whole network on this machine and ask it one question."
)


@up_app.command()
def up(
    once: Annotated[str | None, typer.Option(help="Ask this, print the answer and end.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the HTTP API.")] = 8080,
    directory: Annotated[Path, typer.Option(help="Where the network's state lives.")] = Path(
        ".peerllm"
    ),
) -> None:
    """Start, ask, show who raced and what it cost, and serve until Ctrl-C."""
    with clear_endings(UpError, CoordinatorError, CryptoError):
        trio.run(_up, once, port, directory)


async def _up(once: str | None, port: int, directory: Path) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
        await _run_network(once, port, directory)
        nursery.cancel_scope.cancel()


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            sys.stdout.write("\nstopping ...\n")
            scope.cancel()
            return


async def _run_network(once: str | None, port: int, directory: Path) -> None:
    started = time.monotonic()
    _refuse_small_memory()
    left = stop_leftovers(directory)
    if left:
        print(f"Stopped {left} processes of an earlier start that was killed.")
        await _until_free(port)
    refuse_taken_port("127.0.0.1", port)
    network = prepare(directory, port)
    console = Console(highlight=False, soft_wrap=True)
    console.print("Starting a coordinator and three hosts, each with an engine of its own ...")

    def progress(hosts: int) -> None:
        console.print(f"  {hosts} of {len(network.hosts)} hosts connected")

    try:
        async with running(network) as parts:
            await wait_until_ready(network, parts, progress)
            write_up_file(network, parts)
            await _ask_and_report(network, once or FIRST_QUESTION, started, console)
            if once is None:
                console.print(f"\nServing at {network.base_url}")
                console.print(f"The API key is in {up_file(directory)}")
                console.print("Press Ctrl-C to stop.")
                await _serve_on(parts)
    finally:
        up_file(directory).unlink(missing_ok=True)


async def _until_free(port: int) -> None:
    """Wait until a coordinator that was told to stop has let go of its port."""
    with trio.move_on_after(STOP_SECONDS):
        while True:
            try:
                refuse_taken_port("127.0.0.1", port)
            except PortInUseError:
                await trio.sleep(POLL_SECONDS)
            else:
                return


def _refuse_small_memory() -> None:
    available = psutil.virtual_memory().available
    if available < NEEDED_MEMORY_BYTES:
        raise UpError(
            f"{available // 1_000_000} MB of memory are free, the network needs "
            f"{NEEDED_MEMORY_BYTES // 1_000_000}; close something and start again"
        )


async def _ask_and_report(
    network: LocalNetwork, question: str, started: float, console: Console
) -> None:
    console.print(f"\nQuestion: {question}", markup=False)
    with trio.fail_after(ANSWER_SECONDS):
        request_id, answer, first_text_at = await trio.to_thread.run_sync(
            _ask, network, question, abandon_on_cancel=True
        )
    console.print(f"First words {first_text_at - started:.1f} s after the start of this command.\n")
    statement = await _statement(network, request_id)
    _print_chunks(statement, network, console)
    _print_money(statement, network, console)
    await _check_retention(network, question, answer, console)


def _ask(network: LocalNetwork, question: str) -> tuple[str, str, float]:
    """Stream one answer to the terminal; its id, its text and when its first words came."""
    client = openai.OpenAI(base_url=network.base_url, api_key=network.api_key, max_retries=0)
    pieces: list[str] = []
    request_id, first_text_at = "", 0.0
    try:
        stream = client.chat.completions.create(
            model=FIRST_MODEL,
            messages=[{"role": "user", "content": question}],
            max_tokens=ANSWER_TOKENS,
            temperature=0,
            stream=True,
        )
        sys.stdout.write("Answer:   ")
        for event in stream:
            request_id = event.id
            text = (event.choices[0].delta.content or "") if event.choices else ""
            if text and not first_text_at:
                first_text_at = time.monotonic()
            pieces.append(text)
            sys.stdout.write(text)
            sys.stdout.flush()
    except openai.APIError as error:
        sys.stdout.write("\n")
        raise UpError(f"the question was not answered: {error.message}") from None
    finally:
        client.close()
    sys.stdout.write("\n")
    return request_id, "".join(pieces), first_text_at or time.monotonic()


async def _statement(network: LocalNetwork, request_id: str) -> Statement:
    headers = {"authorization": f"Bearer {network.api_key}"}
    async with httpx.AsyncClient(headers=headers, timeout=10) as client:
        response = await client.get(f"{network.base_url}/statements/{request_id}")
    if response.status_code != 200:
        raise UpError(f"the answer's statement could not be read: status {response.status_code}")
    return msgspec.json.decode(response.content, type=Statement)


def _host_name(network: LocalNetwork, peer_id: str) -> str:
    number = next((h.number for h in network.hosts if h.peer_id == peer_id), 0)
    return f"host-{number} (…{peer_id[-6:]})"


def _print_chunks(statement: Statement, network: LocalNetwork, console: Console) -> None:
    for chunk in statement.chunks:
        console.print(f"Chunk {chunk.index} ({chunk.kind}), raced by:")
        for host in chunk.hosts:
            console.print(f"  {_host_name(network, host.host)}: {_run_of(host)}")


def _run_of(host: HostLine) -> str:
    # Whose text was shown first may still be overtaken by who ends first; both are paid.
    role = "led, overtaken" if host.released_tokens else "backup, cancelled"
    result = "won" if host.won else host.failure or role
    rate, first = host.tokens_per_second_milli, host.first_token_ms
    return ", ".join(
        (
            result,
            f"{host.tokens} tokens",
            "no rate" if rate is None else f"{rate / 1000:.1f} tokens/s",
            "no token" if first is None else f"first token after {first} ms",
            "receipt signed" if host.receipt else "no receipt",
        )
    )


def _print_money(statement: Statement, network: LocalNetwork, console: Console) -> None:
    charge = statement.charge_nano_usd
    console.print(
        f"Paid: {charge} nano-USD for {statement.prompt_tokens} prompt and "
        f"{statement.completion_tokens} answer tokens (tariff {statement.tariff_version})."
    )
    share = 100 * statement.host_share_nano_usd / charge if charge else 100.0
    console.print(f"  hosts   {statement.host_share_nano_usd} ({share:.2f}%)")
    for peer_id, amount in statement.paid_nano_usd.items():
        console.print(f"    {_host_name(network, peer_id)}  {amount}")
    if statement.unclaimed_nano_usd:
        console.print(f"    kept for hosts without a receipt  {statement.unclaimed_nano_usd}")
    console.print(f"  network {statement.margin_nano_usd}")


async def _check_retention(
    network: LocalNetwork, question: str, answer: str, console: Console
) -> None:
    """Look for the question and the answer in every file of the network and in its metrics."""
    async with httpx.AsyncClient(timeout=10) as client:
        metrics = await client.get(f"http://127.0.0.1:{network.http_port}/metrics")
    needles = (*needles_in(question), *needles_in(answer))
    findings = await trio.to_thread.run_sync(
        find_content, needles, network.data_directory, {"/metrics": metrics.content}
    )
    if findings:
        places = ", ".join(sorted({finding.place for finding in findings}))
        raise UpError(f"content was kept, which must never happen; it was found in {places}")
    if needles:
        console.print("content kept: nothing")
    else:
        console.print("content kept: not checked, question and answer are too short to look for")


async def _serve_on(parts: tuple[Part, ...]) -> None:
    """Wait for Ctrl-C, or for the coordinator to end by itself; hosts may come and go."""
    coordinator = parts[0]
    status = await coordinator.process.wait()
    raise UpError(f"the coordinator ended with status {status}; its log is {coordinator.log}")
