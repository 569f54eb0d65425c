"""The rules of a race: one chunk at several hosts, one text released.

Pure: events go in with the time they happened, a `Step` comes out saying what to release, whom to
cancel and whether the race is over. The trio shell in `dispatch` performs it.

The *leader* is the host whose stream is released. It changes when the leader fails or stalls, or
when another host has finished a text that begins with everything released so far. A host whose
text departs from what was released can no longer lead; when nobody is left who can, the step asks
for a continuation: a fresh dispatch that goes on from the released prefix.

A host that adds nothing has proved no work: its text waits and wins only once nobody else is left.
"""

import enum
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """How long a race waits, in seconds."""

    first_token: float
    between_tokens: float
    total: float


class Finish(enum.Enum):
    """Why a host's text ended."""

    STOP = "stop"
    LENGTH = "length"


class Failure(enum.Enum):
    """Why a host dropped out of a race."""

    HOST_LOST = "host_lost"
    REFUSED = "refused"
    FIRST_TOKEN_LATE = "first_token_late"  # noqa: S105 - a reason, not a secret
    STALLED = "stalled"
    DIVERGED = "diverged"
    GARBAGE = "garbage"


class Standing(enum.Enum):
    """Where a contestant stands."""

    RUNNING = "running"
    FINISHED = "finished"
    OUT = "out"


@dataclass(kw_only=True)
class Contestant:
    """One host's run at the chunk.

    `base` is the length of the released text it was asked to continue from (0 for the first
    dispatches), `text` the whole answer as this host has it, `released` the parts of it that
    were released while it led.
    """

    dispatch: bytes
    host: str
    started_at: float
    base: int = 0
    text: str = field(default="", repr=False)
    standing: Standing = Standing.RUNNING
    finish: Finish | None = None
    failure: Failure | None = None
    first_token_at: float | None = None
    last_token_at: float | None = None
    released: list[str] = field(default_factory=list, repr=False)

    @property
    def said_nothing(self) -> bool:
        """Whether it has added no word of its own; white space costs as little as silence."""
        return not self.text[self.base :].strip()


@dataclass(frozen=True, kw_only=True)
class Won:
    """The race ended with a whole answer."""

    winner: bytes
    finish: Finish


@dataclass(frozen=True, kw_only=True)
class Step:
    """What the shell must do now."""

    release: str = field(default="", repr=False)
    cancel: tuple[bytes, ...] = ()
    outcome: Won | None = None


class Race:
    """One chunk's race; see the module docstring for the rules."""

    def __init__(self, deadlines: Deadlines, *, started_at: float) -> None:
        self._deadlines = deadlines
        self._started_at = started_at
        self._contestants: dict[bytes, Contestant] = {}
        self._leader: bytes | None = None
        self._released = ""
        self._outcome: Won | None = None

    @property
    def released(self) -> str:
        """The text released so far; it ends at a word's end until the race is won."""
        return self._released

    @property
    def contestants(self) -> tuple[Contestant, ...]:
        """Everyone who ran, in the order of their start."""
        return tuple(self._contestants.values())

    @property
    def leader(self) -> bytes | None:
        """The dispatch whose stream is being released."""
        return self._leader

    @property
    def won(self) -> bool:
        """Whether a whole answer came of it."""
        return self._outcome is not None

    def released_by(self, dispatch: bytes) -> str:
        """The part of the released text that came from one dispatch."""
        return "".join(self._contestants[dispatch].released)

    def enter(self, dispatch: bytes, host: str, *, now: float) -> None:
        """A host starts; it was asked to continue from what is released at this moment."""
        self._contestants[dispatch] = Contestant(
            dispatch=dispatch,
            host=host,
            started_at=now,
            base=len(self._released),
            text=self._released,
        )

    def on_text(self, dispatch: bytes, text: str, *, now: float) -> Step:
        """A host produced more text (possibly none: a token that completes no character)."""
        contestant = self._running(dispatch)
        if contestant is None:
            return Step()
        contestant.text += text
        contestant.last_token_at = now
        if contestant.first_token_at is None:
            contestant.first_token_at = now
        if not _compatible(contestant.text, self._released):
            return self._drop(contestant, Failure.DIVERGED)
        if self._leader is None:
            self._leader = dispatch
        return Step(release=self._release_words()) if self._leader == dispatch else Step()

    def on_finish(self, dispatch: bytes, finish: Finish) -> Step:
        """A host's text is whole. An empty one waits: see `on_nobody_left`."""
        contestant = self._running(dispatch)
        if contestant is None:
            return Step()
        if not contestant.text.startswith(self._released):
            return self._drop(contestant, Failure.DIVERGED)
        contestant.standing, contestant.finish = Standing.FINISHED, finish
        if contestant.said_nothing:
            return self._pass_the_lead(contestant)
        return self._win(contestant, finish)

    def on_nobody_left(self) -> Step:
        """Nobody runs and nobody can be asked: an empty text wins where no other came."""
        for contestant in self.contestants:
            if contestant.finish is not None and contestant.text.startswith(self._released):
                return self._win(contestant, contestant.finish)
        return Step()

    def on_failure(self, dispatch: bytes, failure: Failure) -> Step:
        """A host dropped out."""
        contestant = self._running(dispatch)
        return Step() if contestant is None else self._drop(contestant, failure)

    def on_time(self, now: float) -> Step:
        """Drop every host whose deadline has passed."""
        cancelled: list[bytes] = []
        step = Step()
        release = ""
        for contestant in self.contestants:
            due = self._due(contestant)
            if contestant.standing is Standing.RUNNING and due is not None and due <= now:
                late = contestant.first_token_at is None
                failure = Failure.FIRST_TOKEN_LATE if late else Failure.STALLED
                step = self._drop(contestant, failure)
                cancelled.extend((contestant.dispatch, *step.cancel))
                release += step.release
        return Step(
            release=release,
            cancel=tuple(dict.fromkeys(cancelled)),
            outcome=step.outcome,
        )

    def expired(self, now: float) -> bool:
        """Whether the race as a whole is out of time."""
        return now >= self._started_at + self._deadlines.total

    def next_deadline(self) -> float:
        """When `on_time` must be called next, in the clock's seconds."""
        dues = [self._due(contestant) for contestant in self.contestants]
        return min(
            (due for due in dues if due is not None),
            default=self._started_at + self._deadlines.total,
        )

    def _due(self, contestant: Contestant) -> float | None:
        if contestant.standing is not Standing.RUNNING:
            return None
        total = self._started_at + self._deadlines.total
        if contestant.last_token_at is None:
            return min(total, contestant.started_at + self._deadlines.first_token)
        return min(total, contestant.last_token_at + self._deadlines.between_tokens)

    def _running(self, dispatch: bytes) -> Contestant | None:
        contestant = self._contestants.get(dispatch)
        if contestant is None or contestant.standing is not Standing.RUNNING or self._outcome:
            return None
        return contestant

    def _release_words(self) -> str:
        """Release the leader's text up to its last whole word, so that a backup can take over.

        A prefix that ends inside a word would have to be continued from tokens no model produces.
        """
        leader = self._contestants[self._leader] if self._leader is not None else None
        if leader is None:
            return ""
        return self._release(leader, _whole_words(leader.text))

    def _release(self, contestant: Contestant, end: int) -> str:
        start = len(self._released)
        if end <= start:
            return ""
        piece = contestant.text[start:end]
        contestant.released.append(piece)
        self._released += piece
        return piece

    def _drop(self, contestant: Contestant, failure: Failure) -> Step:
        contestant.standing, contestant.failure = Standing.OUT, failure
        cancel = (contestant.dispatch,) if failure is Failure.DIVERGED else ()
        step = self._pass_the_lead(contestant)
        return Step(release=step.release, cancel=(*cancel, *step.cancel))

    def _pass_the_lead(self, contestant: Contestant) -> Step:
        if self._leader not in (None, contestant.dispatch):
            return Step()
        departed = self._drop_departed()
        started = [
            c
            for c in self.contestants
            if c.standing is Standing.RUNNING and c.first_token_at is not None
        ]
        successor = max(started, key=lambda c: len(c.text), default=None)
        self._leader = successor.dispatch if successor else None
        return Step(release=self._release_words(), cancel=departed)

    def _drop_departed(self) -> tuple[bytes, ...]:
        """Drop whoever's text is no longer the released one: more was released since they spoke."""
        departed = [
            c
            for c in self.contestants
            if c.standing is Standing.RUNNING and not _compatible(c.text, self._released)
        ]
        for contestant in departed:
            contestant.standing, contestant.failure = Standing.OUT, Failure.DIVERGED
        return tuple(contestant.dispatch for contestant in departed)

    def _win(self, contestant: Contestant, finish: Finish) -> Step:
        self._leader = contestant.dispatch
        release = self._release(contestant, len(contestant.text))
        losers = tuple(c.dispatch for c in self.contestants if c.standing is Standing.RUNNING)
        self._outcome = Won(winner=contestant.dispatch, finish=finish)
        return Step(release=release, cancel=losers, outcome=self._outcome)


def _compatible(text: str, released: str) -> bool:
    return text.startswith(released) or released.startswith(text)


# Scripts written without spaces would otherwise wait for the end of the answer; no English word
# is longer than 45 letters.
_LONGEST_WORD = 48


def _whole_words(text: str) -> int:
    """The length of `text` up to and without its last run of white space and what follows it."""
    stripped = text.rstrip()
    if len(stripped) < len(text):
        return len(stripped)
    for index in range(len(text) - 1, max(-1, len(text) - 1 - _LONGEST_WORD), -1):
        if text[index].isspace():
            return len(text[:index].rstrip())
    return len(text) if len(text) > _LONGEST_WORD else 0
