"""E-mail addresses, web and network addresses, user names.

Every pattern is anchored where a run begins and matches possessively, so that its time is linear
in the text whatever the text is.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from peerllm.safety.identifier_kinds import Identifier
from peerllm.safety.wordlists import word_list

_LOCAL: Final = r"[\w.%+'&=-]"
_EMAIL: Final = re.compile(rf"(?<!{_LOCAL}){_LOCAL}++@[\w-]++(?:\.[\w-]++)++")
# Spelled out against harvesters: "name (at) host dot org"; without brackets only with "dot".
_DOT: Final = r"(?:\s?[(\[{]dot[)\]}]\s?|\sdot\s|\.)"
_MAIL_HOSTS: Final = (
    "gmail|googlemail|outlook|hotmail|live|yahoo|ymail|icloud|proton|protonmail|gmx|aol|yandex|zoho"
    "|fastmail|tutanota"
)
_SPELLED_EMAIL: Final = re.compile(
    rf"(?<![\w.+-])[\w+-]{{1,64}}+(?:{_DOT}[\w+-]{{1,64}}+){{0,2}}"
    rf"(?:\s?[(\[{{]at[)\]}}]\s?[\w-]{{1,63}}+(?:{_DOT}[\w-]{{2,63}}+){{1,4}}"
    r"|\sat\s[\w-]{1,63}+(?:(?:\sdot\s|\.)[\w-]{2,63}+){0,3}\sdot\s[\w-]{2,24}+)"
    # Only what cannot be a word of prose is taken before a plain "at host.org".
    r"|(?<![\w.+-])(?=[a-z]{0,30}[._+0-9])[\w.+]{3,64}+\sat\s[\w-]{1,63}+\.[a-z]{2,24}+"
    rf"|(?<![\w.+-])[\w.+-]{{2,64}}+\sat\s(?:{_MAIL_HOSTS})\.[a-z]{{2,6}}+(?:\.[a-z]{{2}})?(?!\w)",
    re.IGNORECASE,
)
_TOP_LEVEL: Final = (
    "com|org|net|edu|gov|info|biz|io|ai|app|dev|co|me|eu|uk|us|de|fr|es|it|in|nl|be|ch|at|se|no|dk"
    "|fi|pl|pt|br|ru|cn|jp|au|ca|mx|ie|cz|gr|tr|za|nz|site|online|shop|xyz|tv"
)
_BARE_HOST: Final = re.compile(
    rf"(?<![\w@./:-])(?:[\w-]{{2,63}}+\.){{1,4}}(?:(?:{_TOP_LEVEL})(?:/[^\s<>\"'`]*+|(?![\w(.@-]))"
    rf"|(?:{_TOP_LEVEL})\.(?=\s|\Z))",
    re.IGNORECASE,
)
# Behind "e-mail" a word may stand for the local part: "email reimer at proton.me".
_NAMED_EMAIL: Final = re.compile(
    r"\b(?:e-?mails?|mail|mailto|cc|bcc|write to)\b[:\s]{1,3}"
    r"([\w.+-]{2,64}+\sat\s[\w-]{1,63}+(?:\.[\w-]{2,63}+){1,3})",
    re.IGNORECASE,
)
# "torch.in" and "asp.net" are no hosts unless a path follows.
_CODE_TOP_LEVEL: Final = re.compile(
    r"\.(?:in|at|is|no|me|us|it|be|co|net|io|app|dev)\.?$", re.IGNORECASE
)
_SITE_WORDS: Final = re.compile(
    r"(?<![^\W_])(?:web(?:site|page)?|sites?|blog|domain|homepage|url|link|host|page|visit|at|see)\W{1,3}(?:is\W{1,3})?\Z",
    re.IGNORECASE,
)
_SITE_WORDS_CHARACTERS: Final = 16
# What these name is documentation, not somebody's.
_NOBODYS_HOST: Final = re.compile(
    r"(?:^|[.@/])(?:localhost|example\.(?:com|org|net)|[\w-]+\.(?:example|test|invalid|localhost))"
    r"(?=[:/?#]|$)",
    re.IGNORECASE,
)
_URL: Final = re.compile(
    r"(?<![\w@])(?:[a-z][a-z0-9+.-]{1,15}+://|www\.)[^\s<>\"'`{}|\\^]++", re.IGNORECASE
)
URL_CREDENTIALS: Final = re.compile(r"://[^/@\s]+@")
_URL_TRAILING: Final = ".,;:!?)]*_~"
_IPV4: Final = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|\.[0-9])")
_IPV6: Final = re.compile(
    # Directly behind a word where that ends with a letter that is no digit: "addr:fe80::1".
    r"(?:(?<![\w:.])|(?<=[g-z]:))[0-9a-f]{0,4}:[0-9a-f:]{2,40}(?![\w:])",
    re.IGNORECASE | re.ASCII,
)
_MAC: Final = re.compile(
    r"(?<![\w:-])[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}(?![\w:-])"
    r"|(?<![\w.])(?=[0-9.]{0,13}[a-f])[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}(?![\w.])",
    re.IGNORECASE,
)
_LONGEST_HANDLE: Final = 40
# Neither a decorator's call nor a decorator on its own line.
_HANDLE: Final = re.compile(
    r"(?<![\w@./+-])@[A-Za-z0-9_]\w*+(?:[.-]\w++)*+(?![\w@(/])"
    r"(?!\n[ \t]{0,32}(?:@|def |class |async |public |private |function ))"
)
_NAMED_USER: Final = re.compile(
    r"(?<![\w$.])(?:user(?:[ _-]?(?:name|id))?|login(?:[ _-]?name)?|screen ?name|nick(?:name)?"
    r"|handle)"
    # Behind "is" a word of prose is none: "the user is satisfied".
    r"(?:[\"'`*]{0,3}(?:\s|[ \t]{0,24})[:=][\"'`*]{0,3}(?:\s|[ \t]{0,24})"
    r"|\s(?:is|was)\s(?=[\"'`]|\w{0,24}(?:[0-9_@]|\.\w)))"
    r"[\"'`]?([A-Za-z0-9_][\w.@+-]{1,63})(?![\w(])",
    re.IGNORECASE,
)
_NO_USER: Final = frozenset(
    {"root", "admin", "user", "username", "test", "guest", "null", "none", "true", "false", "not",
     "the", "that", "this", "required", "empty", "invalid", "very", "too", "also", "already"}
)  # fmt: skip
# Marks of programs and style sheets, not people.
NO_HANDLE: Final = frozenset(
    {"apply", "article", "author", "autowired", "bean", "book", "charset", "column", "component",
     "container", "controller", "date", "deprecated", "directive", "echo", "else", "entity",
     "example", "extend", "font-face", "id", "if", "import", "include", "inject", "injectable",
     "inproceedings", "input", "interface", "keyframes", "layer", "link", "media", "misc", "mixin",
     "module", "namespace", "nonnull", "nullable", "output", "override", "page", "param",
     "private", "property", "repository", "return", "returns", "screen", "see", "service",
     "since", "supports",
     "table", "tailwind", "test", "throws", "todo", "transactional", "type", "typedef", "use",
     "var", "variants", "version"}
)  # fmt: skip


def detect_emails(text: str) -> Iterator[Identifier]:
    """E-mail addresses, also spelled out ("name (at) domain dot org")."""
    for found in _EMAIL.finditer(text):
        # "lodash@4.17.21" is a version, "root@10.0.0.12" somebody's machine.
        host = found.group().rpartition("@")[2]
        version = host.rpartition(".")[2].isdigit() and _address(host) is None
        if not (version or text.startswith("//", found.start() - 2)):
            start = found.start() + len(found.group()) - len(found.group().lstrip(".'&=%"))
            yield Identifier(start, found.end(), "EMAIL", 0.95)
    for found in _SPELLED_EMAIL.finditer(text):
        yield Identifier(*found.span(), "EMAIL", 0.8)
    for found in _NAMED_EMAIL.finditer(text):
        yield Identifier(*found.span(1), "EMAIL", 0.8)


def detect_urls(text: str) -> Iterator[Identifier]:
    """Web addresses, above all those that carry credentials; not those of documentation."""
    for found in _URL.finditer(text):
        url = found.group().rstrip(_URL_TRAILING)
        if URL_CREDENTIALS.search(url):
            yield Identifier(found.start(), found.start() + len(url), "URL", 1.0)
        elif not _NOBODYS_HOST.search(url[:300]):
            yield Identifier(found.start(), found.start() + len(url), "URL", 0.7)
    for found in _BARE_HOST.finditer(text):
        host = found.group().rstrip(_URL_TRAILING)
        start = max(0, found.start() - _SITE_WORDS_CHARACTERS)
        named = _SITE_WORDS.search(text, start, found.start()) is not None
        code = not named and _CODE_TOP_LEVEL.search(host)
        if not (code or _NOBODYS_HOST.search(host[:300])):
            yield Identifier(found.start(), found.start() + len(host), "URL", 0.5)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def detect_network_addresses(text: str) -> Iterator[Identifier]:
    """IPv4, IPv6 and MAC addresses, without the loopback and the unspecified address."""
    for pattern in (_IPV4, _IPV6):
        for found in pattern.finditer(text):
            address = _address(found.group()) or _address(found.group().rpartition(":")[0])
            if address is not None and not (address.is_loopback or address.is_unspecified):
                yield Identifier(*found.span(), "IP", 0.9)
    for found in _MAC.finditer(text):
        yield Identifier(*found.span(), "MAC", 0.95)


def detect_user_names(text: str) -> Iterator[Identifier]:
    """Handles (@name) and names introduced as a login."""
    for found in _HANDLE.finditer(text):
        known = found.group()[1:].casefold() in NO_HANDLE
        if 2 < len(found.group()) <= _LONGEST_HANDLE and not known:
            yield Identifier(*found.span(), "USERNAME", 0.7)
    for found in _NAMED_USER.finditer(text):
        quoted = text[found.start(1) - 1] in "\"'`"
        if found.group(1).casefold() not in _NO_USER and (quoted or not _is_prose(found.group(1))):
            yield Identifier(*found.span(1), "USERNAME", 0.7)


def _is_prose(value: str) -> bool:
    """Whether common words alone stand there, as in a dialogue: "user: What is ..."."""
    words = re.split("[.-]", value.casefold().rstrip(".-"))
    names, common = word_list("given_names"), word_list("english_words")
    return all(word in common and word not in names for word in words)
