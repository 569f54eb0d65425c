"""From the form of an answer to a grammar for llama.cpp's sampler (GBNF).

The converter that comes with llama-cpp-python is not used: a quotation mark in a name ends its
literal, strings may hold raw line feeds, `"type": ["string", "null"]` loses every other
keyword, patterns may leave their string, and under `python -O` it fetches schemas from the
network. Here every rule is made from a checked node, so a grammar is well-formed whatever the
customer wrote.
"""

import json
from collections.abc import Iterator
from typing import Final

from peerllm.overlay.answer_shape import (
    AnswerShape,
    Anything,
    Choice,
    Constants,
    Items,
    Mapping,
    Node,
    Number,
    Record,
    Text,
)

# Only escapes without another spelling: nothing can be hidden from a reader of the raw text,
# and no half of a surrogate pair can appear. At most one line feed and its indentation between
# two signs: a small model would fill its whole answer with white space.
_COMMON: Final = r"""
space ::= ( " " | "\n" [ \t]{0,20} )?
hex ::= [0-9a-f]
char ::= [^"\\\x00-\x1F\x7F] | "\\" ( ["\\/bfnrt] | "u00" [01] hex )
string ::= "\"" char* "\""
whole ::= "-"? ( "0" | [1-9] [0-9]{0,15} )
number ::= whole ( "." [0-9]{1,15} )? ( [eE] [-+]? [0-9]{1,2} )?
object ::= "{" space ( member ( space "," space member )* space )? "}"
member ::= string space ":" space value
array ::= "[" space ( value ( space "," space value )* space )? "]"
value ::= object | array | string | number | "true" | "false" | "null"
date ::= [0-9]{4} "-" ( month "-" early | unlike-february "-" ( "29" | "30" ) | long "-31" )
early ::= "0" [1-9] | "1" [0-9] | "2" [0-8]
month ::= "02" | unlike-february
unlike-february ::= long | "04" | "06" | "09" | "11"
long ::= "01" | "03" | "05" | "07" | "08" | "10" | "12"
time ::= ( [01] [0-9] | "2" [0-3] ) ":" [0-5] [0-9] ":" [0-5] [0-9] ( "." [0-9]{1,6} )? offset
offset ::= "Z" | [-+] ( [01] [0-9] | "2" [0-3] ) ":" [0-5] [0-9]
uuid ::= hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}
"""
_FORMATS: Final = {"date": "date", "time": "time", "date-time": 'date "T" time', "uuid": "uuid"}
_LITERAL_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\x00"}
)


def grammar_of(shape: AnswerShape) -> str:
    """The grammar of a shape that `fault_of` found nothing against; its first rule is `root`.

    A space may come first, since some vocabularies begin every text with one.
    """
    rules = ['root ::= " "? n0']
    for place, node in enumerate(shape.nodes):
        rules += _rules(f"n{place}", node)
    return "\n".join(rules) + _COMMON


def _rules(name: str, node: Node) -> Iterator[str]:
    match node:
        case Constants(strings=strings, others=others):
            values = [*map(_json_string, dict.fromkeys(strings)), *dict.fromkeys(others)]
            yield f"{name} ::= {' | '.join(map(_literal, values))}"
        case Text(format="", minimum=minimum, maximum=maximum):
            yield rf'{name} ::= "\"" char{_repeated(minimum, maximum)} "\""'
        case Text(format=form):
            yield rf'{name} ::= "\"" {_FORMATS[form]} "\""'
        case Number(whole=whole):
            yield f"{name} ::= {'whole' if whole else 'number'}"
        case Anything(object_only=object_only):
            yield f"{name} ::= {'object' if object_only else 'value'}"
        case Items():
            yield f'{name} ::= "[" space {_items(node)} "]"'
        case Mapping(value=value):
            member = f'string space ":" space n{value}'
            yield f'{name} ::= "{{" space ( {member} ( space "," space {member} )* space )? "}}"'
        case Choice(nodes=places):
            yield f"{name} ::= {' | '.join(f'n{place}' for place in dict.fromkeys(places))}"
        case Record():
            yield from _record(name, node)


def _items(node: Items) -> str:
    if node.maximum == 0:
        return ""
    fewest = max(node.minimum - 1, 0)
    most = None if node.maximum is None else node.maximum - 1
    some = f'n{node.item} ( space "," space n{node.item} ){_repeated(fewest, most)} space'
    return some if node.minimum else f"( {some} )?"


def _record(name: str, record: Record) -> Iterator[str]:
    """One rule for what may follow once a property stands, one for while none does, of each.

    So the grammar grows with the number of optional properties, not with their combinations.
    """
    fields = record.fields
    yield f'{name} ::= "{{" space {name}-first-0 "}}"'
    for number, field in enumerate(fields):
        pair = f'{_literal(_json_string(field.name))} space ":" space n{field.node} space'
        then, later = f"{name}-then-{number + 1}", f"{name}-first-{number + 1}"
        optional = "" if field.required else f" | {later}"
        yield f"{name}-first-{number} ::= {pair} {then}{optional}"
        closing = "" if field.required else "?"
        yield f'{name}-then-{number} ::= ( "," space {pair} ){closing} {then}'
    yield f'{name}-first-{len(fields)} ::= ""'
    yield f'{name}-then-{len(fields)} ::= ""'


def _repeated(minimum: int, maximum: int | None) -> str:
    if maximum is None:
        return f"{{{minimum},}}" if minimum else "*"
    return f"{{{minimum},{maximum}}}"


def _json_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _literal(text: str) -> str:
    return f'"{text.translate(_LITERAL_ESCAPES)}"'
