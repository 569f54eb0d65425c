"""Passwords, API keys and other secrets."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from peerllm.safety.identifier_kinds import Identifier

# The prefixes issuers give their keys so that scanners can find them.
_ISSUED: Final = re.compile(
    r"(?<![\w-])(?:gh[pousr]_\w{20,255}|github_pat_\w{20,255}|glpat-[\w-]{16,64}"
    r"|sk-[\w-]{16,256}|[spr]k_(?:live|test)_\w{10,128}|AKIA[0-9A-Z]{12,24}|ASIA[0-9A-Z]{12,24}"
    r"|AIza[\w-]{30,45}|xox[abeprs]-[\w-]{10,128}|SG\.[\w-]{10,64}\.[\w-]{10,128}|hf_\w{16,64}"
    r"|npm_\w{20,64}|pypi-[\w-]{16,256}|ya29\.[\w-]{10,512}|EAAC\w{20,256}|shp(?:at|ca|pa)_\w{16,64}"
    r"|eyJ[\w-]{8,2048}\.[\w-]{8,4096}\.[\w-]{0,1024}|dop_v1_\w{32,80}|(?:AC|SK)[0-9a-f]{32}"
    r"|key-[0-9a-f]{32}|hv[sb]\.[\w-]{20,256}|gsk_\w{20,128}|xapp-[\w-]{20,256}|whsec_[\w+/]{16,128}"
    r"|GOCSPX-[\w-]{20,64}|pplx-\w{20,128}|xai-\w{20,128}|lin_api_\w{20,128}|dckr_pat_[\w-]{16,64}"
    r"|sq0[a-z]{3}-[\w-]{20,64}|AGE-SECRET-KEY-1[0-9A-Z]{40,80})(?![\w-])"
)
_PRIVATE_KEY: Final = re.compile(
    # Up to the next five hyphens and no further: a text of headers alone is read once, too.
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:[\w+/=\s\\:,.()@<>]|-(?!----)){0,8000}+-----END [A-Z ]{0,30}KEY(?: BLOCK)?-----"
    # Of one that was cut off, the lines that are there.
    r"|(?:(?:\s|\\[nr]){0,4}[A-Za-z0-9+/=]{24,80}){1,200})"
)
_NAMED: Final = re.compile(
    r"(?:pass(?:word|wd|phrase|code)?|passwort|kennwort|mot de passe|contrase\u00f1a|pwd"
    r"|(?<![a-z])pw|secret|token|credential|api[ _-]?key|access[ _-]?key"
    r"|private[ _-]?key|auth[ _-]?key|(?<![a-z])pin(?: code)?|(?<![a-z])cv[vc]2?|(?<![a-z])otp)"
    r"(?:_(?:base|prod|dev|test|key|value)){0,2}"
    # Settings have their values in a column, records quotes around the key, Markdown asterisks.
    r"[\"'`*]{0,3}(?:(?:\s|[ \t]{0,24})(?:[:=]{1,2}|=>)[\"'`*]{0,3}(?:\s|[ \t]{0,24})"
    r"|\s(?:is|was)(?: now)?:?\s|\sto\s(?=[\"'`]))"
    r"[\"'`]?([^\s\"'`,;<>]{3,256})",
    re.IGNORECASE,
)
# Without a sign between: in SQL and XML, and where it cannot be a word.
_BESIDE: Final = re.compile(
    r"\b(?:identified\s+by|password)\s+['\"]([^\s'\"]{3,256})['\"]"
    r"|<(?:password|passwd|pwd|secret|token|api[-_]?key)>([^<>\s]{3,256})</"
    r"|\bpassword\s+(?=[^\s\"'`,;<>()]{0,64}[0-9])(?=[^\s\"'`,;<>()]{0,64}[A-Za-z])"
    r"([^\s\"'`,;<>()]{6,256})(?![(])",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"\b(?:bearer|basic)\s+([^\s\"'`<>,;]{8,4096})", re.IGNORECASE)
_OPTION: Final = re.compile(
    r"(?<!\S)(?:--(?:pass(?:word)?|token|secret)[ =]|-u ?[^\s:\"']{1,64}:)"
    r"([^\s\"'-][^\s\"']{3,255})"
)
# To other programs "-p" is a port, a path or a patch.
_CLIENT_OPTION: Final = re.compile(
    r"\b(?:mysql(?:dump|admin)?|mariadb(?:-dump)?|sshpass|mongo(?:sh|dump)?|login)\b[^\n|;&]{0,120}?"
    r"\s-p ?[\"']?([^\s\"'-][^\s\"']{3,255})"
)
_LONG_TOKEN: Final = re.compile(r"(?<![\w+/.@-])[\w+/-]{20,512}={0,2}(?![\w+/@=])")
# What password generators and careful people make: "Ktowfamb82!xq".
_PASSWORD_SHAPE: Final = re.compile(
    r"(?<![\w/+.@#$!-])(?=[A-Za-z]{0,20}[0-9]{1,8}[!#$^][A-Za-z]|[A-Za-z]{0,20}[!#$^][A-Za-z]{0,20}[0-9])"
    r"[A-Za-z0-9]{3,32}[!#$^][A-Za-z0-9]{1,32}(?![\w/+=.@#$(-])"
)
_SECRET_WORDS: Final = re.compile(
    r"(?<![^\W_])(?:keys?|tokens?|secrets?|passwords?|passphrase|credentials?)\W{0,6}\Z",
    re.IGNORECASE,
)
_SECRET_WORDS_CHARACTERS: Final = 24
# What stands behind "token =" in a program: a call, an index, a part of something.
_CODE: Final = re.compile(r"\A(?:[A-Za-z_][\w.]*[(\[]|[A-Za-z_]+(?:\.[A-Za-z_]+)+\Z)")
_PLACEHOLDER: Final = re.compile(
    r"\W*(?:x{3,}|\*{3,}|\.{3,}|your|my|\$\{?|os\.|process\.|%|{)", re.IGNORECASE
)

# Bits per character. Identifiers in code stay below 3.7; random base 62 of 20 characters has 4.
_RANDOM_ENTROPY: Final = 3.7
_PLAIN_WORD: Final = re.compile(r"[A-Za-z]+|[0-9]{1,2}")


def entropy(token: str) -> float:
    """Shannon entropy of the characters, in bits per character."""
    counts = Counter(token)
    return -sum(n / len(token) * math.log2(n / len(token)) for n in counts.values())


def _kinds_of_characters(token: str) -> int:
    return (
        any(character.islower() for character in token)
        + any(character.isupper() for character in token)
        + any(character.isdigit() for character in token)
    )


def _is_called_a_secret(text: str, found: re.Match[str]) -> bool:
    start = max(0, found.start() - _SECRET_WORDS_CHARACTERS)
    called = _SECRET_WORDS.search(text, start, found.start())
    return called is not None and _kinds_of_characters(found.group()) >= 2


def _looks_random(token: str) -> bool:
    # Paths and identifiers are words joined by marks; a key changes between kinds all the time.
    changes = len(re.findall(r"[a-zA-Z][0-9]|[0-9][a-zA-Z]", token))
    return _kinds_of_characters(token) == 3 and changes >= 3 and entropy(token) >= _RANDOM_ENTROPY


def detect_secrets(text: str) -> Iterator[Identifier]:
    """Keys with an issuer's prefix, values named a secret, and long random tokens."""
    for pattern in (_ISSUED, _PRIVATE_KEY):
        for found in pattern.finditer(text):
            yield Identifier(*found.span(), "SECRET", 1.0)
    for found in _BEARER.finditer(text):
        if any(character.isdigit() for character in found.group(1)):
            yield Identifier(*found.span(1), "SECRET", 0.9)
    for pattern in (_NAMED, _BESIDE, _OPTION, _CLIENT_OPTION):
        for found in pattern.finditer(text):
            start, end = found.span(found.lastindex or 0)
            value = text[start:end].rstrip(".)]}!?")
            quoted = text[start - 1] in "\"'`"
            if (
                len(value) >= 3
                and _is_secret(value)
                and (quoted or not _CODE.match(text[start:end]))
            ):
                yield Identifier(start, start + len(value), "SECRET", 0.8)
    yield from _unnamed_secrets(text)


def _unnamed_secrets(text: str) -> Iterator[Identifier]:
    for found in _LONG_TOKEN.finditer(text):
        if _looks_random(found.group()) or _is_called_a_secret(text, found):
            yield Identifier(*found.span(), "SECRET", 0.7)
    for found in _PASSWORD_SHAPE.finditer(text):
        if _kinds_of_characters(found.group()) == 3:
            yield Identifier(*found.span(), "SECRET", 0.6)


def _is_secret(value: str) -> bool:
    """A word of prose ("the password is wrong") or a stand-in is no secret."""
    return not _PLAIN_WORD.fullmatch(value) and not _PLACEHOLDER.match(value)
