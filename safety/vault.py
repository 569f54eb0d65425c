"""The in-memory map from placeholder to identifier of one request.

Identifiers leave the prompt before any host sees it and come back into the answer before the
customer does. `restore(remove(text)) == text` for every text.

A request that names nobody but the publicly known, "What is the capital of France?", is left as it
is; see `docs/decisions/0004-public-names.md`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, product
from string import ascii_uppercase
from typing import Final, Protocol

from peerllm.safety.errors import StreamOrderError
from peerllm.safety.identifier_kinds import KINDS, Identifier
from peerllm.safety.own_terms import NO_OWN_TERMS, OwnTerms
from peerllm.safety.placeholders import (
    OPENS_SYNTAX_CHARACTERS,
    PAIRS,
    has_own_brackets,
    numbered_words,
    placeholder_pattern,
    recognised,
    unfinished_pattern,
    written,
)
from peerllm.safety.plain_text import plain_text
from peerllm.safety.public_names import is_public_name
from peerllm.safety.spans import Span, whole_words
from peerllm.safety.wordlists import word_list

# Letters B to Z number the further forms of one identifier.
_FORMS: Final = 26
# What is found once is looked for everywhere in the request, up to this many words.
_REPEATED_WORDS: Final = 6
_SHORTEST_REPEATED: Final = 3
# Four times the longest request: more is a huge identifier over and over, which takes a host three
# tokens each time and would fill the memory.
MAXIMUM_RESTORED_CHARACTERS: Final = 4 * 1024 * 1024

_WORD: Final = re.compile(r"[^\W_]+")

# Parts of names that say nothing of a person, and names that are common words: "will" in lower
# case is not a part of Will Smith.
_NO_PART_OF_A_NAME: Final = word_list("titles")
_COMMON_WORDS: Final = word_list("common_names")


class Finder(Protocol):
    """Anything that finds identifiers in a text, such as `IdentifierFinder`."""

    def find(self, text: str) -> tuple[Identifier, ...]:
        """Identifiers by position, without overlaps."""
        ...


@dataclass(slots=True, repr=False)
class _Entity:
    kind: str
    placeholder_prefix: str
    number: int
    forms: int = 0


@dataclass(slots=True, repr=False)
class _Memory:
    """What the vault knows; the texts themselves are kept only as keys of spans already found."""

    spans: dict[str, tuple[Span, ...]] = field(default_factory=dict)
    # Whether anything was found that is no public name; until then nothing is removed.
    private: bool = False
    words_in_use: set[str] = field(default_factory=set)
    prefixes: dict[str, str] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    placeholder_of: dict[str, str] = field(default_factory=dict)
    surface_of: dict[str, str] = field(default_factory=dict)
    entity_of: dict[str, _Entity] = field(default_factory=dict)
    persons: dict[tuple[str, ...], _Entity] = field(default_factory=dict)
    own: dict[tuple[str, ...], _Entity] = field(default_factory=dict)
    # None marks a part that two people share.
    parts: dict[str, _Entity | None] = field(default_factory=dict)
    # Placeholders whose original stands in such brackets: those are the user's, not the model's.
    bracketed: set[tuple[str, str]] = field(default_factory=set)


class Vault:
    """Removes identifiers from the texts of one request and restores them in its answer.

    Make one for each request, `prepare` it with all its texts, and let it go out of scope with
    the request. Its repr, and everything else but `remove` and `restore`, hides the content.
    """

    def __init__(
        self, finder: Finder, *, kinds: Iterable[str] = KINDS, own: OwnTerms = NO_OWN_TERMS
    ) -> None:
        self._finder = finder
        self._kinds = frozenset(kinds) | own.kinds
        self._own = own
        self._memory = _Memory()
        self._unknown = 0
        self._room = MAXIMUM_RESTORED_CHARACTERS
        self._pattern: re.Pattern[str] | None = None
        self._unfinished: re.Pattern[str] | None = None

    def __repr__(self) -> str:
        return f"<Vault of {len(self._memory.surface_of)} placeholders>"

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been removed so far."""
        return not self._memory.surface_of

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The placeholders given out, oldest first."""
        return tuple(self._memory.surface_of)

    @property
    def unknown_placeholders(self) -> int:
        """How often an answer held something like a placeholder that was never given out."""
        return self._unknown

    def prepare(self, texts: Sequence[str]) -> None:
        """Find the identifiers of all texts of a request before the first is changed."""
        new = [text for text in dict.fromkeys(texts) if text not in self._memory.spans]
        for text in new:
            self._memory.words_in_use |= numbered_words(text)
            self._memory.spans[text] = tuple(
                Span(found.start, found.end, found.kind)
                for found in self._own.applied(text, self._finder.find(text))
                if found.kind in self._kinds
            )
        surfaces = list(self._surfaces(new))
        if not self._memory.private:
            self._memory.private = not all(
                is_public_name(surface, kind) for surface, kind in surfaces
            )
            if not self._memory.private:
                return
            # What was public on its own is not beside something private.
            surfaces = list(self._surfaces(self._memory.spans))
        # Full names first, so that a part on its own finds the person it belongs to.
        for full in (True, False):
            for surface, kind in surfaces:
                if full == (kind != "PERSON" or len(_name_words(surface)) > 1):
                    self._register(surface, kind)

    def _surfaces(self, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
        """What was found in `texts`, as it is written there, with its kind."""
        for text in texts:
            for span in whole_words(text, self._memory.spans[text]):
                yield text[span.start : span.end], span.kind

    def remove(self, text: str) -> str:
        """`text` with a placeholder in place of every identifier, unless all are public names.

        Only what was prepared before is known by then: prepare all texts first.
        """
        self.prepare([text])
        if not self._memory.private:
            return text
        pieces: list[str] = []
        position = 0
        for span in whole_words(
            text, (*self._memory.spans[text], *self._repeated(text), *self._look_alikes(text))
        ):
            placeholder = self._register(text[span.start : span.end], span.kind)
            opening, closing = text[span.start - 1 : span.start], text[span.end : span.end + 1]
            if opening and PAIRS.get(opening) == closing:
                self._memory.bracketed.add((placeholder, opening))
            pieces += (text[position : span.start], placeholder)
            position = span.end
        return "".join((*pieces, text[position:]))

    def restore(self, text: str) -> str:
        """`text` with every placeholder given out replaced, in one pass, by what it stands for.

        Case, separator and added brackets may differ; the number may not. Brackets of the answer's
        own syntax, as in LaTeX or a link, stay. What only looks like a placeholder stays, too, and
        is counted in `unknown_placeholders`; so do all once `MAXIMUM_RESTORED_CHARACTERS` are out.
        """
        return self._restore_from(text, 0)

    def _restore_from(self, text: str, start: int) -> str:
        """Restored `text` from `start` on; what is before only shows where words begin."""
        pattern = self._placeholder_pattern()
        if pattern is None:
            return text[start:]
        pieces: list[str] = []
        for match in pattern.finditer(text, start):
            pieces += (text[start : match.start()], self._restored(match))
            start = match.end()
        return "".join((*pieces, text[start:]))

    def restorer(self) -> "StreamRestorer":
        """A restorer for an answer that arrives in pieces. Make it after the last `remove`."""
        return StreamRestorer(self, self._unfinished_pattern())

    def _restored(self, match: re.Match[str]) -> str:
        placeholder, ending = recognised(match), ""
        surface = self._memory.surface_of.get(placeholder)
        if surface is None and match["form"] == "s":
            # A genitive, as German, Dutch and Swedish write it.
            placeholder, ending = placeholder[:-1], "s"
            surface = self._memory.surface_of.get(placeholder)
        if surface is None:
            self._unknown += 1
            return match.group()
        self._room -= len(surface)
        if self._room < 0:
            return match.group()
        opening, closing = match["opening"], match["closing"]
        kept = has_own_brackets(match, self._memory.entity_of[surface].kind)
        while (
            opening
            and not kept
            and PAIRS[opening[-1]] == closing[:1]
            and (placeholder, opening[-1]) not in self._memory.bracketed
        ):
            opening, closing = opening[:-1], closing[1:]
        return f"{opening}{surface}{ending}{closing}"

    def _may_go_on(self, end: str) -> bool:
        """Whether a text's end is the beginning of more than one placeholder given out."""
        pattern = self._placeholder_pattern()
        match = pattern.search(end) if pattern else None
        if match is None or match.end() < len(end):
            return False
        known = recognised(match)
        return any(
            one.startswith(known) and one[len(known) :][:1].isdigit()
            for one in self._memory.surface_of
        )

    def without_torn_end(self, cut: str) -> str:
        """`cut`, which lacks its end, without a placeholder there that may lack its own."""
        unfinished = self._unfinished_pattern()
        held = unfinished.search(cut) if unfinished else None
        return cut[: held.start()] if held and self._may_go_on(held.group()) else cut

    def _placeholder_pattern(self) -> re.Pattern[str] | None:
        if self._pattern is None and self._memory.prefixes:
            self._pattern = placeholder_pattern(self._memory.prefixes.values())
        return self._pattern

    def _unfinished_pattern(self) -> re.Pattern[str] | None:
        if self._unfinished is None and self._memory.prefixes:
            self._unfinished = unfinished_pattern(self._memory.prefixes.values())
        return self._unfinished

    def _look_alikes(self, text: str) -> list[Span]:
        """What the user wrote in the form of a placeholder: hidden like an identifier itself."""
        pattern = self._placeholder_pattern()
        if pattern is None:
            return []
        kinds = {prefix: kind for kind, prefix in self._memory.prefixes.items()}
        return [
            Span(match.start("prefix"), match.end("form"), kinds[match["prefix"].upper()])
            for match in pattern.finditer(text)
        ]

    def _repeated(self, text: str) -> list[Span]:
        """Identifiers, and parts of names, known from elsewhere in the request."""
        memory = self._memory
        spans: list[Span] = []
        words = [word.span() for word in _WORD.finditer(text)]
        index = 0
        while index < len(words):
            start = words[index][0]
            longest = min(len(words), index + _REPEATED_WORDS)
            for last in range(longest - 1, index - 1, -1):
                end = words[last][1]
                entity = memory.entity_of.get(text[start:end])
                if entity is not None and end - start >= _SHORTEST_REPEATED:
                    spans.append(Span(start, end, entity.kind))
                    index = last
                    break
            else:
                if self._is_part_of_a_name(text[start : words[index][1]]):
                    spans.append(Span(start, words[index][1], "PERSON"))
            index += 1
        return [Span(*span) for span in self._own.without_left(text, spans)]

    def _is_part_of_a_name(self, word: str) -> bool:
        folded = word.casefold()
        return folded in self._memory.parts and (
            word[0].isupper() or (len(word) > 3 and folded not in _COMMON_WORDS)
        )

    def _register(self, surface: str, kind: str) -> str:
        memory = self._memory
        known = memory.placeholder_of.get(surface)
        if known is not None:
            return known
        entity = self._entity(surface, kind)
        placeholder = written(entity.placeholder_prefix, entity.number, entity.forms)
        entity.forms += 1
        memory.placeholder_of[surface] = placeholder
        memory.surface_of[placeholder] = surface
        memory.entity_of[surface] = entity
        return placeholder

    def _entity(self, surface: str, kind: str) -> _Entity:
        memory = self._memory
        if kind in self._own.kinds:
            term = self._own.term(surface)
            if term not in memory.own or memory.own[term].forms == _FORMS:
                memory.own[term] = self._new_entity(kind)
            return memory.own[term]
        if kind != "PERSON":
            return self._new_entity(kind)
        name = _name_words(surface)
        known = memory.persons.get(name) or (memory.parts.get(name[0]) if len(name) == 1 else None)
        if known is not None and known.forms < _FORMS:
            return known
        entity = memory.persons[name] = self._new_entity(kind)
        if len(name) > 1:
            for part in name:
                if len(part) >= _SHORTEST_REPEATED:
                    memory.parts[part] = None if part in memory.parts else entity
        return entity

    def _new_entity(self, kind: str) -> _Entity:
        memory = self._memory
        if kind not in memory.prefixes:
            memory.prefixes[kind] = self._free_prefix(kind)
            self._pattern = self._unfinished = None
        memory.counters[kind] += 1
        return _Entity(kind, memory.prefixes[kind], memory.counters[kind])

    def _free_prefix(self, kind: str) -> str:
        """The kind itself, unless the user's texts hold it with a number behind."""
        taken = self._memory.words_in_use | set(self._memory.prefixes.values())
        endings = (
            "".join(letters) for n in count() for letters in product(ascii_uppercase, repeat=n)
        )
        return next(kind + ending for ending in endings if kind + ending not in taken)


class StreamRestorer:
    """Restores an answer piece by piece, holding back what may be half a placeholder."""

    def __init__(self, vault: Vault, unfinished: re.Pattern[str] | None) -> None:
        self._vault = vault
        self._unfinished = unfinished
        # What is before the held text: it shows where words begin and whose the brackets are.
        self._before = ""
        self._held = ""
        self._finished = False

    def __repr__(self) -> str:
        return f"<StreamRestorer holding {len(self._held)} characters>"

    def push(self, piece: str) -> str:
        """The restored text that is certain once `piece` has arrived.

        Raises `StreamOrderError` after `finish`.
        """
        if self._finished:
            raise StreamOrderError("a piece arrived after the stream was finished")
        self._held += piece
        if self._unfinished is None:
            return self._release(len(self._held))
        text = self._before + self._held
        unfinished = self._unfinished.search(text, len(self._before))
        return self._release(
            len(self._held) if unfinished is None else unfinished.start() - len(self._before)
        )

    def finish(self, *, cut: bool = False) -> str:
        """The restored rest. Raises `StreamOrderError` when called twice.

        `cut`: the answer ends where its room did. A placeholder that may have lost the end of its
        number stays as it is: it would name somebody else.
        """
        if self._finished:
            raise StreamOrderError("the stream was finished twice")
        self._finished = True
        if cut and self._vault._may_go_on(self._held):
            return self._held
        return self._release(len(self._held))

    def _release(self, length: int) -> str:
        if length == 0:
            return ""
        certain, self._held = self._held[:length], self._held[length:]
        restored = self._vault._restore_from(self._before + certain, len(self._before))
        self._before = (self._before + certain)[-OPENS_SYNTAX_CHARACTERS:]
        return restored


def _name_words(surface: str) -> tuple[str, ...]:
    plain = plain_text(surface)
    known = surface if plain is None else plain.text
    words = tuple(word.casefold() for word in _WORD.findall(known))
    return tuple(word for word in words if word not in _NO_PART_OF_A_NAME) or words or (surface,)
