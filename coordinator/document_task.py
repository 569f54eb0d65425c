"""What is asked of which text: the kinds of work that can be cut into parts, told by their form.

Read are the instruction and the text's outline, by rules alone. What stands inside the document is
never read as an instruction, whatever it says. Everything not clearly one of the kinds stays
whole, and so do chats, code, reasoning and whatever holds for the answer as one (lengths, orders,
counts, forms): a part cannot know what the others say.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from peerllm.coordinator.code_text import is_code
from peerllm.safety.readable import readable

TaskKind = Literal["rewrite", "classify", "extract", "list", "summarise", "question"]
# "other": something is asked that is none of the kinds, or more than one of them.
Asked = TaskKind | Literal["other"]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class DocumentTask:
    """An instruction over a document. `questions` are the independent ones of a list."""

    kind: TaskKind
    instruction: str = field(repr=False)
    document: str = field(repr=False)
    system: tuple[Turn, ...] = field(repr=False)
    questions: tuple[str, ...] = field(repr=False, default=())

    @property
    def may_hold_a_rule(self) -> bool:
        """Whether the text begins or ends with a line that may be meant for whoever works on it.

        Only the part that holds it would keep to "Answer in German." below a text.
        """
        first, _, rest = self.document.partition("\n")
        ends = (first, rest.rpartition("\n")[2])
        short = (line for line in ends if len(line) <= INSTRUCTION_CHARACTERS)
        return self.kind != "list" and any(map(_FURTHER_RULE.match, short))

    @property
    def into_another_language(self) -> bool:
        """Whether the text is written anew in a language that takes more tokens than English."""
        said = self.instruction
        return (
            self.kind == "rewrite"
            and _INTO_ANOTHER.search(said) is not None
            and _INTO_ENGLISH.search(said) is None
        )


# An instruction longer than this is not an instruction about a document that follows.
INSTRUCTION_CHARACTERS = 400
# More lines than this are a paragraph of the document's.
_INSTRUCTION_LINES = 4

_LEAD = (
    r"\s*(?:(?:please|kindly|now|then|also|just|briefly|next|first|hi|hello|hey)[,\s]+"
    r"|(?:can|could|would|will) you[,\s]+|i(?:'d| would)? (?:want|need|like) (?:you )?to "
    r"|your (?:task|job) is to |help me (?:to )?|you (?:should|must|are to) |let(?:'s| us) )*"
)
_MAKE = (
    r"(?:give|write|provide|make|create|produce|prepare|draft|tell|show|list|what are|what is"
    r"|i (?:want|need))\b[^.?!]{0,40}?\b"
)
_SUMMARY = (
    r"(?:summary|summari[sz]ation|overview|synopsis|gist|tl;?dr"
    r"|(?:key|main) (?:points|takeaways|ideas))\b"
)
_FORMS: dict[TaskKind, str] = {
    "summarise": rf"(?:summari[sz]e\b|condense\b|abridge\b|{_MAKE}{_SUMMARY}"
    rf"|(?:(?:a|the|short|brief|concise) )*{_SUMMARY})",
    "rewrite": r"(?:translate\b|proofread\b|rewrite\b|rephrase\b|paraphrase\b|reword\b"
    rf"|(?:correct|fix) the (?:spelling|grammar|typos)\b|{_MAKE}translation\b|translation\b)",
    "classify": r"(?:classify|label|categori[sz]e|tag)\s+(?:(?:each|every|all|these)\b"
    r"|(?:the )?(?:following|below) (?:\w+ ){0,2}?\w+s\b)",
    "extract": r"(?:extract\b|pull out\b|find (?:all|every|each)\b"
    r"|(?:list|name|collect|identify) (?:all|every|each|the)\b)",
}
# How a text is headed, too: "Summary of the meeting", "Extract from the register".
_TITLE = re.compile(
    rf"(?!.*(?::|\b(?:this|these|text|below|following|please|all|every|each)\b))"
    rf"\s*(?:[a-z]+\. )?(?:(?:a|the|an|short|brief|concise) )*"
    rf"(?:{_SUMMARY}|(?:translation|extract (?:from|of)|rewrite of)\b)",
    re.IGNORECASE | re.DOTALL,
)
_CLAUSES = {kind: re.compile(_LEAD + form, re.IGNORECASE) for kind, form in _FORMS.items()}
_OTHER = re.compile(
    _LEAD + r"(?:explain|compare|contrast|evaluate|argue|prove|solve|calculate|compute|count|sort"
    r"|rank|tell|decide|discuss|critique|review|fix|debug|refactor|implement|reply|respond|answer"
    r"|continue|write|give|show|say|describe|analy[sz]e|check|convert|make|create|help|find|list"
    r"|classify|label|categori[sz]e|tag|identify|suggest|recommend|propose|replace|improve|predict"
    r"|guess|add (?:an?|the|some|your)|(?:rate|score|grade) (?:it|this|the|my|each|them)"
    r"|number (?:it|the|each|every|all|them))\b",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[.;:!?,](?=\s|\Z)|\n|\band\b|\bthen\b|\bor\b", re.IGNORECASE)
_QUOTED = re.compile(r"\"[^\"\n]*\"|\u201c[^\u201d\n]*\u201d|`[^`\n]*`|(?<!\w)'[^'\n]*'(?!\w)")
_NEGATED = re.compile(
    r"\b(?:do not|don't|never|without|instead of|rather than|not to)\s+(?:\w+\s+){0,2}"
    r"(?:summar|translat|extract|list|proofread|rewrit|rephras|paraphras|classif|condens)",
    re.IGNORECASE,
)
# "How many" is a count over the whole, "why" and "how" are reasoning.
_LOOK_UP = re.compile(
    _LEAD + r"(?:(?:according to|based on|in|from|using|given) [^,?\n]{3,80}, )?"
    r"(?:who|whom|whose|what|when|where|which|how (?:much|long|old|far|tall|large|big|high))\b"
    r"[^?\n]*\?\s*\Z",
    re.IGNORECASE,
)
_NUMBER = r"(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten)"
_UNIT = (
    r"(?:letter|character|word|sentence|line|paragraph|page|section|chapter|part|verse|stanza|row"
    r"|entry|entrie|item|clause|article|appendix)s?"
)
# A place in the text: no part knows whether it holds that.
_PLACE = (
    r"(?:first|second|third|fourth|fifth|last|final|penultimate|opening|closing|next"
    rf"|\d+(?:st|nd|rd|th)) (?:(?:few|several|{_NUMBER}) )?{_UNIT}"
)
_OF_THE_WHOLE = re.compile(
    rf"\b(?:{_PLACE}|step[- ]by[- ]step|prov(?:e|ing)|proof|solve|calculate|compute"
    r"|reason(?:ing|s)?|why|count|how (?:many|often)|number of|frequen\w+"
    r"|(?:most|least) (?:common|often|used)|averages?|median|sums?|add(?:ed|ing)? (?:\w+ )?up"
    r"|in total|altogether|repeat(?:s|ed|ing)?|repetitions?|duplicates?|missing|lack(?:s|ing)?"
    r"|(?:more than|only|exactly|just) once|absent|omit(?:s|ted)?|longest|shortest|timeline"
    r"|not (?:covered|mentioned|included|addressed)|inconsisten\w+|compar\w+|contrast"
    r"|differences?|contradict\w*|rank\w*|sort\w*"
    r"|order(?:ed)? by|alphabet\w*|chronological\w*|json|csv|yaml|xml|html|tables?|code"
    r"|means?|functions?|scripts?|programs?|sql|regex|bugs?|previous(?:ly)?|earlier|conversation|chat"
    r"|dialogue|poems?|lyrics|rhym\w+|sonnet)\b",
    re.IGNORECASE,
)
# Looked up where it stands, but to be told from the rest where each part is worked on.
_PLACE_BY_NUMBER = re.compile(rf"\b{_UNIT} (?:\d|[ivxlc]+\b|[a-h]\b)", re.IGNORECASE)
# One answer to each of them, whatever part it stands in.
_FOR_EACH = re.compile(rf"\b(?:each|every|per) {_UNIT}\b|\bseparately\b", re.IGNORECASE)
# Where parts are joined, nothing comes after them that could see to this.
_OF_ALL_PARTS = re.compile(
    rf"\b(?:(?:at most|no more than|up to|exactly|within|under|maximum|less than|fewer than|about"
    rf"|around|top|first|last|in) {_NUMBER}\b|{_NUMBER} (?:words|sentences|lines|items|examples)"
    rf"|consisten\w+|throughout|overall|most|least|best|worst"
    rf"|largest|smallest|shorten|shorter|length|(?:first|second) half"
    rf"|line numbers?|footnotes?|each other|one another|preceding|the one before|group(?:ed|ing)?"
    rf"|by (?:category|type|topic|subject|theme|person|date|day|month|year|country|name)"
    rf"|(?:the|an?|my|one|single) (?:\w+ )?(?:title|headline|beginning|introduction|conclusion"
    rf"|glossary|index|greeting|subject line)|(?:an?|one|single) (?:\w+ )?paragraph"
    rf"|the (?:start|end)\b(?! (?:and \w+ )?(?:date|time)s?\b)"
    rf"|(?:both|several|{_NUMBER}) (?:\w+ )?languages)\b",
    re.IGNORECASE,
)
_LANGUAGE = (
    r"(?:english|french|german|spanish|italian|portuguese|dutch|russian|chinese|mandarin|cantonese"
    r"|japanese|korean|arabic|polish|turkish|hindi|urdu|bengali|persian|swedish|danish|norwegian"
    r"|finnish|greek|czech|slovak|hungarian|romanian|bulgarian|serbian|croatian|ukrainian|hebrew"
    r"|thai|vietnamese|indonesian|malay|swahili|catalan|latin)"
)
_INTO_ANOTHER = re.compile(
    rf"translat|\b(?:in|into|to) (?:\w+ ){{0,2}}{_LANGUAGE}\b", re.IGNORECASE
)
_INTO_ENGLISH = re.compile(r"\b(?:in|into|to) (?:\w+ ){0,2}english\b", re.IGNORECASE)
# A letter in each part, or a part in each language by turns.
_AS_ONE_PIECE = re.compile(
    rf"\b(?:as|into) (?:an?|one)\b"
    rf"|\b{_LANGUAGE},? (?:and|&|as well as|then) (?:also )?(?:in)?(?:to )?{_LANGUAGE}\b",
    re.IGNORECASE,
)
# An extraction is given as lines. "The title" is one thing, of which every part would name its own.
_PLURAL = r"(?:(?!(?:its|was|has|does|this)\b)[\w-]+[^\Wsiu_]s|people|children|m[ae]n|data)\b"
_NOT_AS_LINES = re.compile(
    r"\b(?:bullet\w*|numbered|comma|commas|semicolons?|separated|markdown|format(?:ted)?"
    r"|in the form|as (?:an? )?(?:\w+ )?(?:list|string|line|sentence|paragraph)s?)\b"
    r"|\b(?:extract|identify|name|list|collect|pull out|find) the (?!following\b)"
    rf"(?!(?:[\w-]+ ){{0,3}}?{_PLURAL})(?!.*\b(?:all|every|each|any)\b)",
    re.IGNORECASE | re.DOTALL,
)
# A sentence that goes on instructing where the document should have begun.
_FURTHER_RULE = re.compile(
    r"\s*(?:keep|use|do not|don't|never|always|make|be|avoid|only|include|ensure|answer|write"
    r"|limit|format|please|then|and|also)\b",
    re.IGNORECASE,
)


def recognise(turns: Sequence[Turn]) -> DocumentTask | None:
    """Find work that can be cut in a chat of one user turn; None is for what stays whole."""
    system = tuple(turn for turn in turns if turn.role == "system")
    spoken = [turn for turn in turns if turn.role != "system"]
    if len(spoken) != 1 or spoken[0].role != "user":
        return None
    if any(_OF_THE_WHOLE.search(turn.content) for turn in system):
        return None
    text = spoken[0].content.strip()
    questions = _independent_questions(text)
    if questions is not None:
        lead, asked = questions
        return DocumentTask(
            kind="list", instruction=lead, document=text, system=system, questions=asked
        )
    found = _read(text)
    if found is None:
        return None
    kind, instruction, document = found
    if not document.strip() or is_code(document):
        return None
    return DocumentTask(
        kind=kind, instruction=instruction.strip(), document=document.strip(), system=system
    )


def _read(text: str) -> tuple[TaskKind, str, str] | None:
    """Kind, instruction and document. The first place where anything is asked decides alone."""
    delimited = _delimited(text)
    readings = [delimited] if delimited else [_head(text), _tail(text)]
    if delimited is None and _TITLE.match(readings[0].instruction):
        del readings[0]
    for reading in readings:
        kind = asked_by(reading.instruction, apart=reading.apart)
        if kind == "other" or (kind is not None and _FURTHER_RULE.match(reading.behind)):
            return None
        # A list of questions and answers begins with one, too.
        further = reading is not readings[-1] and asked_by(readings[-1].instruction, apart=True)
        if kind == "question" and further:
            return None
        if kind is not None:
            return kind, reading.instruction, reading.document
    return None


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """`apart`: the layout sets the instruction apart. `behind`: where it does not, what follows."""

    instruction: str = field(repr=False)
    document: str = field(repr=False)
    apart: bool = True
    behind: str = field(repr=False, default="")


def asked_by(instruction: str, *, apart: bool) -> Asked | None:
    """What an instruction asks for, or None where it asks nothing.

    `apart` says that the layout sets it apart from the document: without that, a question with
    text behind it may be a letter that happens to begin with one.
    """
    if len(instruction) > INSTRUCTION_CHARACTERS:
        return None
    said = _QUOTED.sub(" it ", instruction)
    kinds: set[Asked] = set()
    for clause in _CLAUSE_END.split(said):
        named = {kind for kind, form in _CLAUSES.items() if form.match(clause)}
        kinds |= named
        if not named and _OTHER.match(clause):
            kinds.add("other")
    if "?" in said and not kinds:
        kinds.add("question" if apart and _LOOK_UP.match(said) else "other")
    if not kinds:
        return None
    kind = kinds.pop() if len(kinds) == 1 else "other"
    joined = kind in ("rewrite", "classify", "extract")
    forms = [_NEGATED, _OF_THE_WHOLE]
    forms += [_PLACE_BY_NUMBER] * (kind != "question")
    forms += [_FOR_EACH] * (kind == "summarise")
    forms += [_OF_ALL_PARTS] * joined
    forms += [_AS_ONE_PIECE] * (kind == "rewrite")
    forms += [_NOT_AS_LINES] * (kind == "extract")
    return "other" if any(form.search(said) for form in forms) else kind


_OPENING_MARK = re.compile(r"<(?P<tag>[a-z]{2,20})>[^\S\n]*\n|^(?:\"{3}|'{3})", re.MULTILINE)


def _delimited(text: str) -> _Reading | None:
    """A document between marks: up to the last closing mark, so that it cannot end itself."""
    opening = _OPENING_MARK.search(text[: INSTRUCTION_CHARACTERS + 30])
    if opening is None:
        return None
    closing = f"</{opening['tag']}>" if opening["tag"] else opening.group(0)
    end = text.rfind(closing, opening.end())
    around = f"{text[: opening.start()]}\n{text[end + len(closing) :]}".strip()
    if end < 0 or not around or len(around) > INSTRUCTION_CHARACTERS:
        return None
    return _Reading(instruction=around, document=text[opening.end() : end])


def _head(text: str) -> _Reading:
    """The instruction a text begins with."""
    line, newline, rest = text.partition("\n")
    before, colon, _ = text[: INSTRUCTION_CHARACTERS + 2].partition(": ")
    on_one_line = not newline or len(line) > INSTRUCTION_CHARACTERS
    if not on_one_line and line.rstrip().endswith(":"):
        return _Reading(instruction=line, document=rest)
    if colon and "\n" not in before and asked_by(before, apart=True) is not None:
        document = text[len(before) + len(colon) :]
        return _Reading(instruction=before, document=document, behind=document)
    if on_one_line:
        opening = re.match(r"[^.!?\n]{1,400}[.!?]\s", text)
        if opening is None:
            return _Reading(instruction="", document=text)
        document = text[opening.end() :]
        return _Reading(
            instruction=opening.group(0), document=document, apart=False, behind=document
        )
    blank = re.search(r"\n[^\S\n]*\n", text[: INSTRUCTION_CHARACTERS + 2])
    if blank and text.count("\n", 0, blank.start()) < _INSTRUCTION_LINES:
        return _Reading(instruction=text[: blank.start()], document=text[blank.end() :])
    return _Reading(instruction=line, document=rest, apart=False, behind=rest)


def _tail(text: str) -> _Reading:
    """The instruction a text ends with."""
    body, _, last = text.rpartition("\n")
    return _Reading(instruction=last if body else "", document=body)


_QUESTION_LINE = re.compile(
    r"\s*(?:\(?(?P<number>\d{1,3})[.):]|[-*\u2022])\s+(?P<question>[^\n]+\?)\s*\Z"
)
_ANSWER_THESE = re.compile(
    r"\s*(?:please )?(?:answer|reply to|respond to)(?: to)?(?: each(?: of)?| all(?: of)?)?"
    r"(?: the| these| my| this)?(?: following)?(?: \w+)? questions?(?: below)?"
    r"(?: (?:briefly|in (?:one|a) sentence(?: each)?|shortly))?\s*[:.]?\s*\Z",
    re.IGNORECASE,
)
# What points at another question, or at what was said before it.
_LEANS = re.compile(
    r"\b(?:it|its|they|them|their|he|she|him|her|his|this|that|these|those|previous|above|former"
    r"|latter|same|also|both|question|answer|so|then|other|another|there|else|ones?|again|examples?"
    r"|(?:what|how) about)\b",
    re.IGNORECASE,
)
# "When was the author born?": what is named before, unless more of it is said behind.
_OF_BEFORE = re.compile(
    r"\bthe (?!.*\bthe\b)(?!.*\b(?:of|in|on|for|from|to|at|with|between)\b)[a-z][^A-Z0-9\"']*\?\Z"
)
# What asks something by itself; "in which year?" does not. Where this is not English, what leans on
# another cannot be told.
_VERB = r"(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|had|may|must)\b"
_ASKS_ALONE = re.compile(
    rf"(?:[^,?]{{1,60}}, )?(?:(?:who|whom|whose|what|when|where|which|how)\b|{_VERB}"
    rf"|\w+ (?:whom|whose|what|which|when)\b(?=.*\b{_VERB}))(?:\W+\w+){{2}}",
    re.IGNORECASE,
)
_MAXIMUM_QUESTIONS = 24
_FEWEST_QUESTIONS = 3


def _independent_questions(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Listed questions of which none leans on another; the lead-in may only ask for answers."""
    if len(text) > _MAXIMUM_QUESTIONS * INSTRUCTION_CHARACTERS:
        return None
    lines = [line for line in text.splitlines() if line.strip()]
    lead = ""
    if lines and _ANSWER_THESE.match(lines[0]):
        lead, lines = lines[0].strip(), lines[1:]
    if not _FEWEST_QUESTIONS <= len(lines) <= _MAXIMUM_QUESTIONS:
        return None
    asked = [_QUESTION_LINE.match(line) for line in lines]
    questions = tuple(found["question"].strip() for found in asked if found)
    numbers = [int(found["number"]) for found in asked if found and found["number"]]
    if len(questions) < len(lines) or numbers not in ([], list(range(1, len(lines) + 1))):
        return None
    if not all(map(_ASKS_ALONE.match, questions)) or not all(map(readable, questions)):
        return None
    if any(form.search(one) for form in (_LEANS, _OF_BEFORE, _OF_THE_WHOLE) for one in questions):
        return None
    return lead, questions
