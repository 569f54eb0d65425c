import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.safety.identifiers import Identifier, IdentifierFinder
from peerllm.safety.plain_text import plain_text
from peerllm.safety.vault import Vault


def wide(text: str) -> str:
    """In the width of ideographs."""
    return "".join(chr(ord(character) + 0xFEE0) for character in text)


@pytest.fixture(scope="module")
def finder() -> IdentifierFinder:
    return IdentifierFinder()


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        (unicodedata.normalize("NFD", "My name is José Muñoz."), "My name is PERSON_1."),
        ("My sister is Ma\u00adria Go\u00admez.", "My sister is PERSON_1."),
        ("Mail maria.gomez\u200b@gomez.org now", "Mail EMAIL_1 now"),
        ("call +49\u200b151\u200b23456789", "call PHONE_1"),
        ("call \u202a+49 151 23456789\u202c", "call \u202aPHONE_1\u202c"),
        ("IBAN DE89\u20603704\u20600044\u20600532\u20600130\u206000", "IBAN IBAN_1"),
        (wide("maria@gomez.org"), "EMAIL_1"),
        (f"card {wide('4111111111111111')}", "card CARD_1"),
        ("phone ٠٥٠١٢٣٤٥٦٧", "phone PHONE_1"),
        ("信用卡4111111111111111号", "信用卡CARD_1号"),
        ("电话13812345678。", "电话PHONE_1。"),
        ("邮箱是zhang.san@qq.com谢谢", "邮箱是EMAIL_1谢谢"),
        ("tel: ۰۹۱۲ ۳۴۵ ۶۷۸۹", "tel: PHONE_1"),
    ],
)
def test_no_way_of_writing_hides_an_identifier(
    finder: IdentifierFinder, text: str, leaves: str
) -> None:
    safe = Vault(finder)
    assert safe.remove(text) == leaves
    assert safe.restore(leaves) == text


@pytest.mark.parametrize(
    "text",
    [f"電話は{wide('090-1234-5678')}", "我的电话是13812345678。谢谢", "번호는 010-1234-5678입니다",
     "התקשרו ל054-123-4567", "โทร0812345678ครับ", "هاتف٠٥٠١٢٣٤٥٦٧"],
)  # fmt: skip
def test_no_number_leaves_beside_letters_of_another_script(
    finder: IdentifierFinder, text: str
) -> None:
    safe = Vault(finder)
    removed = safe.remove(text)
    assert re.search(r"\d{2}", removed) is None
    assert safe.restore(removed) == text


def test_a_person_is_the_same_however_the_accents_are_written(finder: IdentifierFinder) -> None:
    name = "José Muñoz"
    safe = Vault(finder)
    texts = [f"My name is {name}.", unicodedata.normalize("NFD", f"My name is {name}.")]
    safe.prepare(texts)
    assert list(map(safe.remove, texts)) == ["My name is PERSON_1.", "My name is PERSON_1B."]


SIGNS = st.text(
    st.sampled_from("aZ1é \n\u0301\u0303\u00ad\u200b\u200e\ufeff\ud800漢は+"), max_size=20
)


@given(SIGNS)
def test_every_character_knows_where_it_was_written(text: str) -> None:
    plain = plain_text(text)
    if plain is None:
        return
    assert len(plain.text) == len(plain.ends) == len(plain.starts) - 1
    assert plain.starts == sorted(plain.starts)
    assert plain.ends == sorted(plain.ends)
    for index, character in enumerate(plain.text):
        found = plain.as_written(Identifier(index, index + 1, "PERSON", 1.0))
        was = text[found.start : found.end]
        assert character in unicodedata.normalize("NFC", was) or (character, was) == (" ", "")
    everything = plain.as_written(Identifier(0, len(plain.text), "PERSON", 1.0))
    assert 0 <= everything.start <= everything.end <= len(text)


def test_what_is_written_plainly_is_left_to_itself() -> None:
    assert plain_text("José, 漢字 and ❤\ufe0f") is None


@pytest.mark.parametrize("hostile", ["\u00ad", "e\u0301", "\u0301", "\u200bA", "a\u200b", "漢1"])
def test_a_long_text_is_read_in_one_pass(hostile: str) -> None:
    plain = plain_text("x" + hostile * 200_000)
    assert plain is not None
    assert len(plain.starts) == len(plain.text) + 1
