"""From a conversation to prompt tokens, by the model's own chat template.

Text of a conversation must never turn into control tokens: a user who writes
`<|im_end|>` could otherwise end a turn and speak as the system. So the template is
rendered with an unguessable stand-in for every content; the template's own text is
tokenized with control tokens, each content without, and the parts are joined.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from peerllm.peer.errors import ModelError, PromptError
from peerllm.peer.sequences import Prompt

ROLES: Final = ("system", "user", "assistant")


class Tokenizer(Protocol):
    """What rendering needs of a model's vocabulary."""

    def tokenize(self, text: str, *, control: bool) -> list[int]:
        """Tokens of the text; control strings become control tokens only if `control`."""

    def is_control(self, token: int) -> bool:
        """Whether the token can steer the model, as a turn marker does."""

    def spelling(self, token: int) -> str:
        """The string a control token stands for."""

    @property
    def leading_token(self) -> int | None:
        """The token that every prompt of this model must begin with, if there is one."""

    @property
    def markers(self) -> tuple[str, str]:
        """Text of the tokens that begin and end a sequence, for templates that name them."""


@dataclass(frozen=True)
class ChatTurn:
    """One turn of a conversation."""

    role: str
    content: str = field(repr=False)


class ChatTemplate:
    """A compiled chat template, sandboxed: it comes out of a model file.

    Raises `ModelError` when the template does not compile.
    """

    def __init__(self, source: str, *, stand_in: Callable[[], str] | None = None) -> None:
        # The whitespace settings and the loop controls are those every published
        # template is written for (Hugging Face transformers, `apply_chat_template`).
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            extensions=["jinja2.ext.loopcontrols"],
        )
        environment.globals["raise_exception"] = _refuse_conversation
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError:
            raise ModelError(
                "no_chat_template", "the model's chat template cannot be read"
            ) from None
        self._stand_in = stand_in or _stand_in

    def prompt(
        self, turns: Sequence[ChatTurn], assistant_prefix: str, tokenizer: Tokenizer
    ) -> Prompt:
        """The conversation's tokens, open for the assistant to go on after the prefix.

        What the template itself says before the first turn's content is public.

        Raises `PromptError` when a role is unknown or the template refuses the
        conversation.
        """
        if not turns or any(turn.role not in ROLES for turn in turns):
            raise PromptError("bad_task", "a conversation needs turns by system, user or assistant")
        contents = {self._stand_in(): turn.content for turn in turns}
        rendered = self._render(turns, list(contents), tokenizer)
        # The group keeps the stand-ins in the result, between the template's own parts.
        parts = re.split("(" + "|".join(map(re.escape, contents)) + ")", rendered)
        if not set(contents) <= set(parts):
            raise PromptError("bad_task", "the model's chat template drops a turn")
        # Split by the stand-ins, the template's words and the contents take turns.
        tokens = tokenizer.tokenize(parts[0], control=True) if parts[0] else []
        leading = tokenizer.leading_token
        if leading is not None and tokens[:1] != [leading]:
            tokens.insert(0, leading)
        public_tokens = len(tokens)
        for part in parts[1:]:
            if part in contents:
                tokens += plain_tokens(contents[part], tokenizer)
            elif part:
                tokens += tokenizer.tokenize(part, control=True)
        tokens += plain_tokens(assistant_prefix, tokenizer)
        # The last token is always read anew: what is drawn depends on it.
        return Prompt(tuple(tokens), min(public_tokens, max(len(tokens) - 1, 0)))

    def _render(
        self, turns: Sequence[ChatTurn], stand_ins: Sequence[str], tokenizer: Tokenizer
    ) -> str:
        first, last = tokenizer.markers
        try:
            return self._template.render(
                messages=[
                    {"role": turn.role, "content": stand_in}
                    for turn, stand_in in zip(turns, stand_ins, strict=True)
                ],
                add_generation_prompt=True,
                bos_token=first,
                eos_token=last,
            )
        # A template is a small program out of a model file: besides jinja2's own errors
        # it can raise whatever its expressions raise.
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError):
            raise PromptError(
                "bad_task", "the model's chat template refuses this order of turns"
            ) from None


def plain_tokens(text: str, tokenizer: Tokenizer) -> list[int]:
    """Tokens of a text, none of which is a control token.

    A vocabulary may mark its turn markers as user-defined, and those are found even
    without control tokens: such a marker is spelt out letter by letter instead.
    """
    tokens: list[int] = []
    for token in tokenizer.tokenize(text, control=False) if text else ():
        if not tokenizer.is_control(token):
            tokens.append(token)
            continue
        for letter in tokenizer.spelling(token):
            spelt = tokenizer.tokenize(letter, control=False)
            tokens += [part for part in spelt if not tokenizer.is_control(part)]
    return tokens


def _stand_in() -> str:
    # 128 random bits: no content can hold it, since no author knows it. Letters and
    # digits only, so that a template that trims or escapes leaves it whole.
    return f"q{secrets.token_hex(16)}q"


def _refuse_conversation(_message: str) -> NoReturn:
    raise jinja2.TemplateRuntimeError("refused by the template")
