"""What in a text's form hints at somebody giving a model orders that are not theirs to give.

A sentence among many hardly moves what a long text means as a whole; its wording tells more. No
sign refuses by itself: the local gate was trained to weigh each with what the text means.
"""

import re
from typing import Final

import numpy
from numpy.typing import NDArray

from peerllm.safety.normalisation import normalised

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


def _any_of(words: str) -> str:
    """A pattern for any of these words as they are in a normalised text."""
    return "(?:" + "|".join(re.escape(normalised(word)) for word in words.split("|")) + ")"


# The same in other languages: to pay no attention, what came before, what a model may not tell.
_IGNORE_ABROAD: Final = _any_of(
    "ignor|oubli|vergiss|vergess|missacht|olvid|dimentic|esqueç|negeer|vergeet|zignoruj|zapomnij"
    "|игнорир|забудь|忽略|忘记|無視|无视|無視して|忘れて|unut|görmezden"
    "|تجاهل|انس|भूल|अनदेखा"
)
_INSTRUCTIONS_ABROAD: Final = _any_of(
    "consigne|instruction|règle|anweisung|regeln|vorgabe|instruccion|órdenes|reglas|istruzion|regole"
    "|instruç|regras|instructies|regels|poleceń|polecenia|zasad|инструкц|правил|указани"
    "|指令|规则|指示|ルール|talimat|kural|تعليمات|قواعد|निर्देश|नियम"
)
# Where the verb comes last.
_THEN_IGNORE_ABROAD: Final = (
    _any_of("指示|ルール|talimat|kural|निर्देश|नियम")
    + r"[^.!?\n]{0,20}"
    + _any_of("無視|忘れ|unut|görmezden|yok say|भूल|अनदेखा")
)
_GUARDED_ABROAD: Final = _any_of(
    "mot de passe|code secret|clé secrète|mot secret|passwort|kennwort|geheime|geheimnis|contraseña"
    "|clave secreta|palabra secreta|parola segreta|parola d'ordine|chiave segreta|la password|senha"
    "|chave secreta|palavra secreta|wachtwoord|hasło|tajny klucz|sekretne słowo|пароль|секретн"
    "|密码|秘密|口令|パスワード|parolay\u0131|parola|gizli|كلمة المرور|السر|पासवर्ड|गुप्त"
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
        # Asked for in another language.
        _IGNORE_ABROAD + r"[^.!?\n]{0,40}" + _INSTRUCTIONS_ABROAD + r"|" + _THEN_IGNORE_ABROAD,
        _GUARDED_ABROAD,
        # What was put together or decoded is to be obeyed.
        r"\b(?:join|combine|concatenat|merge|assemble|decod|decrypt|decipher|unscramble|read)"
        r"[^!?]{0,300}\b(?:answer|respond|reply|obey|execute|follow|carry out|do what|act on)\b"
        r"|\b(?:remove|without|ignor\w{0,3}) (?:the |all )?(?:dash|hyphen|dot|space)"
        r"|\b(?:answer|respond|do|follow|execute)\b[^.!?\n]{0,40}"
        r"\b[a-z]\d? ?\+ ?[a-z]\d?\b|\b(?:run|call|evaluate) [a-z_]{1,20}\(",
        # Said without end, to push all else out of view.
        r"\b(?:repeat|say|write|print|keep|go on)\b[^.!?\n]{0,60}"
        r"\b(?:forever|for ever|endless|infinite|without (?:ever )?stop|do not stop|never stop"
        r"|again and again|over and over|(?:\d{2,}|hundred|thousand|million) times)",
        # A mode that is claimed, and orders that are outdone in passing.
        r"\b(?:enter|activat|enabl|switch|initiat|unlock|start|turn)(?:ing|ed|e)?\b[^.!?\n]{0,40}\bmode\b"
        r"|\bmode\W{0,3}(?:activ|enabl|engag|initiat|unlock|on\b)",
        r"\b(?:regardless of|despite|notwithstanding|contrary to|no matter)\b[^.!?\n]{0,30}\b"
        r"(?:previous|prior|earlier|above|told|your|original|given)\b",
    )
)
COUNT: Final = len(_SIGNS)


def signs(text: str) -> NDArray[numpy.float32]:
    """Which signs a normalised text shows: 1 or 0 for each."""
    shown = (sign.search(text) is not None for sign in _SIGNS)
    return numpy.fromiter(shown, dtype=numpy.float32, count=COUNT)
