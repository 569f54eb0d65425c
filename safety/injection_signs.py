"""What in a text's form hints at somebody giving a model orders that are not theirs to give.

A sentence among many hardly moves what a long text means as a whole; its wording tells more. No
sign refuses by itself: the local gate was trained to weigh each with what the text means.
"""

import re
from typing import Final

import numpy
from numpy.typing import NDArray

_GUARDED: Final = (
    r"(?:pass ?words?|pass ?phrases?|pass ?codes?|secrets?|secret (?:keys?|words?|codes?)"
    r"|access codes?|api keys?|credentials?|pin)"
)
_INSTRUCTIONS: Final = (
    r"(?:instruct|direct|orders?\b|prompts?\b|rules?\b|guidelines?\b|polic|commands?\b|programming"
    r"|constraint|restriction|messages?\b|tasks?\b|context|filters?\b|limit)"
)
_PRIVATE: Final = (
    r"(?:name|e-?mail|address|birth|born|phone|number|location|city|liv(?:e|es|ing)\b|colou?r"
    r"|favou?rite|initials|salary|ssn|balance|account|age\b|residence|zodiac|diagnos|medical)"
)
# Every gap is bounded, so that no text takes more than time in proportion to its length.
_SIGNS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        # The instructions so far are revoked.
        r"\b(?:ignor|disregard|forget|overlook|bypass|overrid|discard|neglect|cancel|drop\b"
        r"|never mind)[^.!?\n]{0,30}\b(?:previous|prior|above|earlier|preceding|initial|original"
        r"|former|past|your|all|any)\b[^.!?\n]{0,20}\b" + _INSTRUCTIONS,
        r"\b(?:ignor|disregard|forget|overlook)[^.!?\n]{0,40}\b(?:you(?:['\u2019]ve| have| were)"
        r"(?: ever)?(?: been)? (?:told|instructed|given|taught|asked)|about (?:that|all|every))",
        # What stands in a document tells its reader to answer something else than what it says.
        r"\b(?:ignor\w*|forget|disregard|instead of)\s(?:[a-z]+\s){0,2}(?:page|web ?page|resume"
        r"|table|article|code|function|paper|e-?mail|text|document|question|request|data|user|message)\b",
        r"\b(?:and|must|should|then|to|so|now|let['\u2019]s|always) (?:state|say|output|answer"
        r"|print|respond|reply|claim|admit)\b",
        r"(?:<!--|/\*|//|# |caption|display: ?none|alt=)[^\n]{0,160}\b(?:ignore|state|output|say"
        r"|print|answer|respond|override|assistant|instruct|suggest|suppose|hypothetical|universe)",
        # Marks and modes of the system's own messages.
        r"\b(?:system|admin\w*|developer|debug|god|override|root|maintenance|verification|jailbreak"
        r"|unrestricted|unfiltered|master|emergency|diagnostic|test)\W{1,3}(?:mode|override|access"
        r"|reset|check|upgrade|audit|update|session)\b",
        r"<[/|]?\s?(?:system|admin|inst|assistant|god|now|im_|end|\|)|\[/?(?:system|admin|inst)"
        r"|#{2,} ?(?:system|instruct|new|assistant)|\b(?:system|assistant|ai|model)\s?:",
        # Somebody claims a right.
        r"\b(?:i am|i['\u2019]m|as) (?:actually )?(?:an?|the|your|from|god\b)[^.!?\n]{0,25}"
        r"\b(?:develop|creator|maker|admin|owner|boss|manager|president|police|officer|maintain|ceo"
        r"|audit|engineer|employee|accountant|support|openai|anthropic|expert|doctor|lawyer)",
        r"\b(?:you must|you have to|you will|i order|i command|i need you to|i will give you"
        r"|i['\u2019]ll|you (?:agreed|promised|said|mentioned|told))\b",
        # A secret that the model was given.
        r"\b(?:tell|share|give|reveal|confirm|disclose|provide|show|send|leak|print|repeat|spell|writ"
        r"|encode|translate|output|what is|what['\u2019]s|need|hint|know|about)[^.!?\n]{0,30}\b"
        r"(?:your|the|this|its)[^.!?\n]{0,12}\b" + _GUARDED + r"\b",
        r"\byour (?:\w+ ){0,2}" + _GUARDED + r"\b",
        r"\b(?:your|the) (?:\w+ )?(?:system|initial|hidden|original|developer|confidential"
        r"|exact|first) (?:prompt|instruct|message|rule)|\btext above\b",
        # Somebody's data that the model was given.
        r"\b(?:the|this|that|other|previous|current|logged.in) (?:user|customer|client|patient"
        r"|employee)s?\b[^.!?\n]{0,25}\b" + _PRIVATE,
        r"\b(?:tell|give|send|provide|using|know) (?:me |us )?[a-z]+['\u2019]s (?:\w+ )?"
        + _PRIVATE,
        r"\b(?:list|print|dump|show|export|tell|your)\b[^.!?\n]{0,25}\b(?:users|customers|clients"
        r"|accounts|employees|database|passwords|transactions)\b",
        # How it is asked for: in a world where it is allowed, in cipher, in pieces, in passing.
        r"\b(?:imagin|suppos|pretend|hypothetical|let['\u2019]s say|parallel universe|futuristic"
        r"|in (?:a|this) (?:\w+ ){0,2}(?:world|society|universe|future|reality))",
        r"\b(?:base ?64|rot ?13|leet ?speak|pig latin|morse|backwards?|revers|acrostic|haiku|first"
        r" (?:\w+ )?letters?|each (?:letter|digit|character)|letter by letter|hexadecimal|cipher"
        r"|dashes|spell|rhym)",
        r"\b(?:concatenat|combine)|\b[a-z] ?\+ ?[a-z]\b|\blet [a-z]\d? ?="
        r"|\b[a-z]\d? ?= ?[\"'\u2018\u201c]",
        r"\bq:[^\n]{1,200}\ba:|\buser:[^\n]{1,200}\bassistant:|\bhuman:[^\n]{1,200}\bai:",
        r"\b(\w{1,20})(?:\W{1,3}\1\b){6}",
        r"\b(?:new (?:instruction|task|rule|directive|role)|from now on|you are now|you will now"
        r"|act as|stop being|you no longer|stay in character"
        r"|no (?:rules|restrictions|limits|filters?))",
        r"\binstead\b|\bactually,",
    )
)
COUNT: Final = len(_SIGNS)


def signs(text: str) -> NDArray[numpy.float32]:
    """Which signs a normalised text shows: 1 or 0 for each."""
    shown = (sign.search(text) is not None for sign in _SIGNS)
    return numpy.fromiter(shown, dtype=numpy.float32, count=COUNT)
