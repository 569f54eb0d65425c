import pytest

from peerllm.safety.public_names import is_public_name
from peerllm.safety.wordlists import word_list


@pytest.mark.parametrize(
    ("surface", "kind"),
    [
        ("France", "LOCATION"),
        ("france's", "LOCATION"),
        ("the United  Nations", "ORGANIZATION"),
        ("NASA", "PERSON"),  # the finder takes one kind for another
        ("Paris, France", "LOCATION"),
        ("Tokyo, Kyoto and Osaka", "ORGANIZATION"),
        ("Trinidad and Tobago", "LOCATION"),
        ("S\u00e3o Paulo", "LOCATION"),
        ("Albert Einstein", "PERSON"),
        ("Shakespeare", "ORGANIZATION"),
        ("Napoleon", "PERSON"),
        ("McDonald's", "ORGANIZATION"),
    ],
)
def test_what_everybody_knows_is_public(surface: str, kind: str) -> None:
    assert is_public_name(surface, kind)


@pytest.mark.parametrize(
    ("surface", "kind"),
    [
        ("Maria Gomez", "PERSON"),
        ("Paris", "PERSON"),  # somebody called so
        ("Florence and Rome", "PERSON"),
        ("Mr. Shakespeare", "PERSON"),
        ("Albert", "PERSON"),
        ("Paris, Maria", "LOCATION"),
        ("and", "LOCATION"),
        ("", "LOCATION"),
        ("Germany", "ADDRESS"),
        ("berlin", "USERNAME"),
        ("London NW1 6XE", "LOCATION"),
    ],
)
def test_what_may_be_somebodys_is_not(surface: str, kind: str) -> None:
    assert not is_public_name(surface, kind)


def test_the_list_is_in_the_form_names_are_looked_up_in() -> None:
    names = word_list("public_names")
    assert len(names) > 700
    assert all(name == " ".join(name.casefold().split()) for name in names)
