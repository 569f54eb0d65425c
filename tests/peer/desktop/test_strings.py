"""The catalogue of strings is made from the code; it must hold what the code says."""

import ast
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import peerllm.peer.desktop as package

FOLDER = Path(package.__file__).parent
HOW = (
    "make it anew, in peer/desktop: pyside6-lupdate -tr-function-alias translate=tr "
    "-locations none -no-obsolete *.py pages/*.py -ts peerllm.ts"
)


def said() -> Iterator[tuple[str, str]]:
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tr":
                values = [getattr(argument, "value", None) for argument in node.args]
                assert len(values) == 2, f"{path}:{node.lineno}"
                context, text = values
                assert isinstance(context, str), f"{path}:{node.lineno}"
                assert isinstance(text, str), f"{path}:{node.lineno}"
                yield context, text


def test_every_string_of_the_window_is_in_the_catalogue_and_nothing_else() -> None:
    kept = {
        (context.findtext("name", ""), message.findtext("source", ""))
        for context in ElementTree.parse(FOLDER / "peerllm.ts").getroot()  # noqa: S314 - our own
        for message in context.iter("message")
    }
    assert kept == set(said()), HOW


def test_what_is_shown_goes_through_the_catalogue() -> None:
    """A label or button with a sentence of its own would never be translated."""
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"label", "button"}:
                text = node.args[0] if node.args else None
                if isinstance(text, ast.Constant):
                    assert text.value in {"", "…", "PeerLLM"}, f"{path}:{node.lineno}"
