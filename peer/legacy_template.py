"""How a conversation is written down for models whose files carry no chat template."""

from pathlib import Path
from typing import Final

from peerllm.peer.chat import ChatTemplate
from peerllm.peer.errors import ModelError
from peerllm.peer.legacy_format import MAXIMUM_TEMPLATE

# A transcript is what every model of their time continues. Each turn begins on a line of
# its own, since the parts are tokenized apart: a space before a word would stay alone.
PLAIN_TEMPLATE: Final = (
    "{% for message in messages %}"
    "{{ {'system': 'System', 'user': 'User', 'assistant': 'Assistant'}[message['role']] }}:\n"
    "{{ message['content'] }}\n\n"
    "{% endfor %}"
    "{{ 'Assistant:\n' }}"
)
# Where a model goes on with the transcript, beyond its own turn.
PLAIN_STOP: Final = "\nUser:"


def read_template(path: Path) -> str:
    """The owner's chat template. Raises `ModelError` when it is none, `OSError` with the file."""
    with path.open("rb") as file:
        raw = file.read(MAXIMUM_TEMPLATE + 1)
    try:
        source = raw.decode()
    except UnicodeDecodeError:
        raise ModelError("no_chat_template", f"{path} is no text in UTF-8") from None
    if not source.strip() or len(raw) > MAXIMUM_TEMPLATE:
        raise ModelError(
            "no_chat_template",
            f"the chat template {path} must have 1 to {MAXIMUM_TEMPLATE} bytes",
        )
    ChatTemplate(source)
    return source
