"""Serving the application over HTTP with hypercorn's trio worker, quietly and in bounds."""

import logging
from collections.abc import Awaitable, Callable
from typing import cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import Framework
from starlette.applications import Starlette

# A client that keeps a connection open between requests longer than this opens a new one.
KEEP_ALIVE_SECONDS = 30.0
# Answers on their way when `stop` returns are given this long.
DRAIN_SECONDS = 10.0
# OpenAI's clients send under 2 kB of headers.
MAXIMUM_HEAD_BYTES = 32 * 1024


async def serve_http(
    application: Starlette,
    *,
    address: str,
    port: int,
    stop: Callable[[], Awaitable[None]],
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` returns. The started value is the list of bound URLs.

    Raises OSError when the port is taken.
    """
    config = Config()
    config.bind = [f"{address}:{port}"]
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.read_timeout = None
    config.h11_max_incomplete_size = MAXIMUM_HEAD_BYTES
    config.graceful_timeout = config.shutdown_timeout = DRAIN_SECONDS
    config.include_server_header = False
    # Access logs would hold paths and addresses, error logs exception messages.
    silent = logging.getLogger("peerllm.silent")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False
    config.accesslog = None
    config.errorlog = silent
    await serve(
        cast("Framework", application),  # hypercorn's type of ASGI is narrower than Starlette's
        config,
        shutdown_trigger=stop,
        task_status=task_status,
        mode="asgi",
    )
