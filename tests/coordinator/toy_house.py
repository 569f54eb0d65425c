"""A coordinator without sockets and models: the application, real storage, simulated hosts."""

import io
import json
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trio
from simulated_host import (
    NOW_US,
    Faults,
    SimulatedHost,
    all_slots_free,
    dispatcher,
    echo,
    new_registry,
    served_model,
)
from starlette.applications import Starlette
from toy_safety import WordFinder, toy_judge

from peerllm.charter.defaults import first_tariff
from peerllm.cli.retention import find_content, needles_in
from peerllm.coordinator.application import create_application
from peerllm.coordinator.house import House, Terms
from peerllm.coordinator.house_in_force import HouseInForce
from peerllm.coordinator.metrics import Metrics
from peerllm.coordinator.owed_voids import OwedVoids
from peerllm.coordinator.price_list import PriceList
from peerllm.coordinator.quotes import Quotes
from peerllm.coordinator.statement import Statements
from peerllm.coordinator.storage import Storage, open_storage
from peerllm.crypto.identity import Identity
from peerllm.privacy.event_log import EventLog
from peerllm.safety.vault import Finder

ADA = "customers/ada"
PRICE = first_tariff().prices["standard"]["small"]
PROMPT = "please tell the canaryprompt story of seven grey geese"
ANSWER = "once there were seven canaryanswer geese who crossed a wide river at night and slept"


@dataclass
class Reply:
    """What came back over ASGI, as far as it came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False
    starts: int = 0

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found = self.json["error"]
        assert isinstance(found, dict)
        assert {"message", "type", "param", "code"} <= found.keys()
        return found

    @property
    def events(self) -> list[Any]:
        lines = self.body.decode().split("\n\n")
        return [
            "DONE" if line == "data: [DONE]" else json.loads(line.removeprefix("data: "))
            for line in lines
            if line
        ]

    @property
    def text(self) -> str:
        """The answer, streamed or plain."""
        if self.headers.get("content-type") != "text/event-stream":
            return str(self.json["choices"][0]["message"]["content"])
        return "".join(
            choice["delta"].get("content", "")
            for event in self.events
            if event != "DONE"
            for choice in event.get("choices", ())
        )


@dataclass
class ToyHouse:
    """The application and everything behind it."""

    house: House
    application: Starlette
    nursery: trio.Nursery
    folder: Path
    log: io.StringIO
    plain_key: str = ""
    key_id: str = ""
    hosts: list[SimulatedHost] = field(default_factory=list)

    @property
    def storage(self) -> Storage:
        return self.house.storage

    def host(
        self, name: str, faults: Faults | None = None, text: str = ANSWER, **more: Any
    ) -> SimulatedHost:
        values: dict[str, Any] = {"pace": 0, "answer": echo(text)}
        made = SimulatedHost(
            name,
            self.house.dispatcher.registry,
            self.nursery,
            faults=faults or Faults(),
            **(values | more),
        )
        self.hosts.append(made)
        return made

    async def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        key: str | None = None,
        leaves: Callable[[Reply], bool] = lambda _reply: False,
        reads: Callable[[], Any] | None = None,
        unfinished: bool = False,
        left: trio.Event | None = None,
    ) -> Reply:
        """One ASGI call. The client leaves as soon as `leaves` says so, or when it has `left`."""
        reply = Reply()
        gone = trio.Event() if left is None else left
        sent = False
        authorization = [] if key == "" else [(b"authorization", f"Bearer {key or self.plain_key}")]

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": unfinished}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                reply.starts += 1
                reply.status = message["status"]
                reply.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                reply.pieces.append(message.get("body", b""))
                reply.complete = not message.get("more_body", False)
            if leaves(reply):
                gone.set()
            await (reads() if reads else trio.lowlevel.checkpoint())

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": [(k, v.encode("latin-1")) for k, v in authorization],
            "server": ("toy", 80),
            "client": ("198.51.100.1", 5000),
        }
        if leaves(reply):
            gone.set()
        await self.application(scope, receive, send)
        return reply

    async def chat(self, content: str = PROMPT, /, **fields: Any) -> Reply:
        how = {
            name: fields.pop(name) for name in ("key", "leaves", "reads", "left") if name in fields
        }
        body = {"model": "toy", "messages": [{"role": "user", "content": content}]} | fields
        return await self.call("POST", "/v1/chat/completions", json.dumps(body).encode(), **how)

    async def reservations(self) -> dict[str, tuple[str, int | None]]:
        """State and charge of every reservation, straight from the file."""
        with sqlite3.connect(self.folder / "coordinator.sqlite") as database:
            rows = database.execute("SELECT reservation_id, state, charge FROM reservations")
            return {name: (state, charge) for name, state, charge in rows}

    async def settle_down(self) -> None:
        """Whatever hosts and cancelled work still had to do."""
        await trio.testing.wait_all_tasks_blocked(0.02)

    async def check(self) -> None:
        """What must hold after every request, however it ended."""
        await self.settle_down()
        report = await self.storage.ledger_check()
        assert report.balanced, report
        assert report.open_reservations == 0
        assert (report.lowest_host_share_basis_points or 10_000) >= 9_500
        assert {state for state, _ in (await self.reservations()).values()} <= {"posted", "voided"}
        assert all_slots_free(*self.hosts)
        assert (await self.storage.balance(ADA)).reserved == 0
        texts = {"log": self.log.getvalue().encode(), "metrics": self.house.metrics.text()}
        needles = [*needles_in(PROMPT), *needles_in(ANSWER), "canaryprompt", "canaryanswer"]
        assert find_content(needles, self.folder, texts) == []


@asynccontextmanager
async def toy_house(
    folder: Path,
    *,
    finder: Finder | None = None,
    funds: int = 10**9,
    seed: int = 0,
    expires_at_us: int = NOW_US + 1,
    replaced: Mapping[str, Any] | None = None,
) -> AsyncIterator[ToyHouse]:
    log = io.StringIO()
    numbers = iter(range(10**9))
    async with open_storage(folder / "coordinator.sqlite") as storage, trio.open_nursery() as crew:
        metrics = Metrics()
        house = House(
            models={"toy": served_model()},
            terms=Terms(
                race_size=2,
                exposure_basis_points=5_000,
                exposure_minimum_operators=3,
            ),
            price_list=PriceList(
                first_tariff(),
                {"toy": "small"},
                minimum_host_share_basis_points=9_500,
                now_us=lambda: NOW_US,
            ),
            quotes=Quotes(
                Identity.from_seed(bytes(32)),
                now_us=lambda: NOW_US,
                random_bytes=random.Random(seed).randbytes,
            ),
            judge=toy_judge(),
            answer_judge=toy_judge(),
            finder=finder or WordFinder(),
            dispatcher=dispatcher(new_registry(), seed),
            storage=storage,
            owed_voids=OwedVoids(storage, metrics.voids_owed, EventLog(lambda: NOW_US, log)),
            statements=Statements(),
            metrics=metrics,
            draw=random.Random(seed),
        )
        house = replace(house, **(replaced or {}))
        application = create_application(
            HouseInForce(house, expires_at_us, lambda: NOW_US),
            EventLog(lambda: NOW_US, log),
            lambda: f"chatcmpl-{next(numbers):032x}",
        )
        toy = ToyHouse(house, application, crew, folder, log)
        crew.start_soon(house.owed_voids.give_back)
        await storage.create_customer("ada")
        if funds:
            await storage.deposit(ADA, funds, "wire-1")
        issued = await storage.create_api_key(ADA, "laptop")
        toy.plain_key, toy.key_id = issued.plain, issued.key.key_id
        yield toy
        await toy.check()
        crew.cancel_scope.cancel()


async def states(toy: ToyHouse) -> list[str]:
    return [state for state, _ in (await toy.reservations()).values()]


async def unpaid(toy: ToyHouse, reservations: list[str]) -> None:
    """The reservations are in these states and nothing was charged."""
    await toy.settle_down()
    assert await states(toy) == reservations
    assert (await toy.storage.balance(ADA)).balance == 10**9
