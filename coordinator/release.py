"""The last gate before the customer: windows are judged, then identifiers restored."""

from collections.abc import Awaitable, Callable

import trio

from peerllm.safety.json_restoring import JsonRestorer
from peerllm.safety.judge import Verdict
from peerllm.safety.judge_cascade import Undecided
from peerllm.safety.vault import Vault
from peerllm.safety.windows import (
    FIRST_WINDOW_WORDS,
    ReleaseWindows,
    Window,
    next_window_words,
)

Judging = Callable[[str], Awaitable[Verdict | Undecided]]
Release = Callable[[str], Awaitable[None]]


class ReleaseGate:
    """Takes the answer's text as it comes and releases what has been judged safe.

    After a refusal everything further is dropped; `refusal` says why and `on_refusal` is called
    once, so that the work behind the gate can be stopped. `json`: the answer is JSON, and stays
    it whatever an identifier holds; `longest` are the lengths at which its strings had to end.
    """

    def __init__(
        self,
        *,
        judging: Judging,
        vault: Vault,
        release: Release,
        on_refusal: Callable[[], None],
        json: bool = False,
        longest: frozenset[int] = frozenset(),
    ) -> None:
        self._judging = judging
        # Where nothing was removed, JSON leaves as it came, to the letter.
        self._restorer = (
            JsonRestorer(vault, longest=longest)
            if json and not vault.is_empty
            else vault.restorer()
        )
        self._release = release
        self._on_refusal = on_refusal
        self._windows = ReleaseWindows()
        self._new_words = FIRST_WINDOW_WORDS
        # When the text of the next window began to arrive.
        self._since: float | None = None
        self.refusal: Verdict | Undecided | None = None

    async def push(self, text: str) -> None:
        """More of the answer, with placeholders still in it."""
        if self._since is None:
            self._since = trio.current_time()
        self._windows.push(text)
        while self.refusal is None and (window := self._windows.take(self._new_words)):
            arrived = trio.current_time()
            await self._pass(window)
            self._new_words = next_window_words(
                self._new_words, arrived - self._since, trio.current_time() - arrived
            )
            self._since = arrived

    async def finish(self, *, cut: bool = False) -> None:
        """The answer is whole: judge what is left and the whole, then release the rest.

        `cut`: it ends where its room did.
        """
        for window in self._windows.finish():
            if self.refusal is None:
                await self._pass(window)
        if self.refusal is None:
            rest = self._restorer.finish(cut=cut)
            if rest:
                await self._release(rest)

    async def _pass(self, window: Window) -> None:
        verdict = await self._judging(window.text_to_judge)
        if isinstance(verdict, Undecided) or not verdict.allowed:
            self.refusal = verdict
            self._on_refusal()
            return
        restored = self._restorer.push(window.release)
        if restored:
            await self._release(restored)
