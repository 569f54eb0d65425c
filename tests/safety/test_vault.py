import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from peerllm.safety.errors import StreamOrderError
from peerllm.safety.identifiers import Identifier, IdentifierFinder
from peerllm.safety.vault import MAXIMUM_RESTORED_CHARACTERS, Vault


class ListedFinder:
    """Finds the listed surfaces, wherever they stand."""

    def __init__(self, kinds: dict[str, str]) -> None:
        self._kinds = kinds

    def find(self, text: str) -> tuple[Identifier, ...]:
        if not self._kinds:
            return ()
        surfaces = sorted(self._kinds, key=len, reverse=True)
        return tuple(
            Identifier(*found.span(), self._kinds[found.group()], 1.0)
            for found in re.finditer("|".join(map(re.escape, surfaces)), text)
        )


PEOPLE = {
    "Maria Gomez": "PERSON",
    "Ann": "PERSON",
    "John Smith": "PERSON",
    "maria@example.org": "EMAIL",
    "Bonn": "LOCATION",
    "Rome": "LOCATION",
}


def vault(kinds: dict[str, str] | None = None) -> Vault:
    return Vault(ListedFinder(PEOPLE if kinds is None else kinds))


def test_identifiers_become_placeholders_and_come_back() -> None:
    safe = vault()
    removed = safe.remove("Maria Gomez (maria@example.org) met Ann in Bonn.")
    assert removed == "PERSON_1 (EMAIL_1) met PERSON_2 in LOCATION_1."
    assert safe.restore("PERSON_2 saw PERSON_1.") == "Ann saw Maria Gomez."
    assert safe.placeholders == ("PERSON_1", "EMAIL_1", "LOCATION_1", "PERSON_2")


def test_the_same_surface_has_the_same_placeholder_in_every_text() -> None:
    safe = vault()
    assert safe.remove("Ann asks") == "PERSON_1 asks"
    assert safe.remove("John Smith tells Ann") == "PERSON_2 tells PERSON_1"


def test_a_full_name_masks_its_parts_in_earlier_texts_once_prepared() -> None:
    safe = vault()
    texts = ["Did Maria call? GOMEZ, I mean. ask maria", "It was Maria Gomez."]
    safe.prepare(texts)
    first, second = map(safe.remove, texts)
    assert second == "It was PERSON_1."
    assert not re.search("maria|gomez", first, re.IGNORECASE)
    assert set(re.findall(r"PERSON_(\d+)", first)) == {"1"}
    assert safe.restore(first) == texts[0]


def test_a_part_two_people_share_belongs_to_neither() -> None:
    kinds = {"Maria Gomez": "PERSON", "Maria Silva": "PERSON"}
    safe = vault(kinds)
    assert safe.remove("Maria Gomez, Maria Silva, Maria") == "PERSON_1, PERSON_2, PERSON_3"


def test_a_name_that_is_a_common_word_hides_only_the_name() -> None:
    safe = vault({"Will Smith": "PERSON"})
    assert safe.remove("Will Smith will come, Will said") == "PERSON_1 will come, PERSON_1B said"


@pytest.mark.parametrize(
    "written",
    ["PERSON_1", "person_1", "Person 1", "PERSON-1", "PERSON1", "[PERSON_1]", "<Person_1>",
     "{{PERSON_1}}", "[[PERSON 1]]", "PERSON\\_1", "[person1]", "<person-1>"],
)  # fmt: skip
def test_small_changes_a_model_makes_are_tolerated(written: str) -> None:
    safe = vault()
    safe.remove("Maria Gomez")
    assert safe.restore(f"Dear {written},") == "Dear Maria Gomez,"


@pytest.mark.parametrize(
    "written",
    ["PERSON_2", "PERSON_12", "PERSONS_1", "APERSON_1", "PERSON_1ual", "PERSN_1", "PERSON",
     # Names in programs.
     "person1", "Person1", "person-1"],
)  # fmt: skip
def test_what_is_not_a_placeholder_given_out_stays(written: str) -> None:
    safe = vault()
    safe.remove("Maria Gomez")
    assert safe.restore(f"Dear {written},") == f"Dear {written},"


def test_a_genitive_behind_a_placeholder_stays_behind_the_name() -> None:
    safe = vault()
    safe.remove("Maria Gomez met Ann.")
    assert safe.restore("PERSON_1s Haus, [PERSON_2s] Hund") == "Maria Gomezs Haus, Anns Hund"
    stream = safe.restorer()
    pieces = [
        stream.push("Das ist PERSON_2"),
        stream.push("s"),
        stream.push(" Hund"),
        stream.finish(),
    ]
    assert "".join(pieces) == "Das ist Anns Hund"
    assert safe.unknown_placeholders == 0
    assert safe.restore("PERSON_3s Haus") == "PERSON_3s Haus"
    assert safe.unknown_placeholders == 1


def test_unknown_placeholders_are_counted() -> None:
    safe = vault()
    safe.remove("Maria Gomez")
    safe.restore("PERSON_2 and PERSON_3 and PERSON_1")
    assert safe.unknown_placeholders == 2


def test_a_short_name_is_not_restored_inside_a_longer_word() -> None:
    safe = vault()
    safe.remove("Ann")
    assert safe.restore("Annual report by PERSON_1") == "Annual report by Ann"


def test_person_two_is_never_person_one() -> None:
    safe = vault()
    safe.remove("Maria Gomez")
    assert "Maria" not in safe.restore("PERSON_2 PERSON_11 PERSON_10")


def test_brackets_the_user_wrote_stay() -> None:
    safe = vault()
    removed = safe.remove("[Maria Gomez]")
    assert removed == "[PERSON_1]"
    assert safe.restore(removed) == "[Maria Gomez]"


@pytest.mark.parametrize(
    ("answer", "restored"),
    [
        (r"\textbf{PERSON_1}", r"\textbf{Maria Gomez}"),
        (r"\href{mailto:EMAIL_1}{PERSON_1}", r"\href{mailto:maria@example.org}{Maria Gomez}"),
        ("author = {PERSON_1},", "author = {Maria Gomez},"),
        ("[PERSON_1](mailto:EMAIL_1)", "[Maria Gomez](mailto:maria@example.org)"),
        ("To: PERSON_1 <EMAIL_1>", "To: Maria Gomez <maria@example.org>"),
        ("ages[PERSON_1] ${PERSON_1}", "ages[Maria Gomez] ${Maria Gomez}"),
        ("Dear [PERSON_1] (EMAIL_1)", "Dear Maria Gomez (maria@example.org)"),
        ("亲爱的[PERSON_1]", "亲爱的Maria Gomez"),
    ],
)
def test_brackets_that_the_answer_needs_stay(answer: str, restored: str) -> None:
    safe = vault()
    safe.remove("Maria Gomez, maria@example.org")
    assert safe.restore(answer) == restored
    stream = safe.restorer()
    assert "".join([*map(stream.push, answer), stream.finish()]) == restored


def test_names_with_regular_expression_characters() -> None:
    safe = vault({"A. (Bo) [C*": "PERSON", r"\1 \g<0>": "SECRET"})
    text = r"from A. (Bo) [C* with \1 \g<0>"
    assert safe.restore(safe.remove(text)) == text


def test_what_was_restored_is_not_read_again() -> None:
    safe = vault({"Ann": "PERSON", "PERSON_1": "SECRET"})
    text = "Ann PERSON_1 SECRET_1"
    assert safe.restore(safe.remove(text)) == text


def test_text_that_looks_like_a_placeholder_gets_another_prefix() -> None:
    safe = vault()
    text = "Maria Gomez is not PERSON_1."
    removed = safe.remove(text)
    assert removed == "PERSONA_1 is not PERSON_1."
    assert safe.restore(removed) == text


def test_a_look_alike_in_a_later_text_is_hidden_itself() -> None:
    safe = vault()
    safe.remove("Maria Gomez")
    later = safe.remove("who is [person 1]?")
    assert "1" not in later
    assert safe.restore(later) == "who is [person 1]?"


def test_repr_and_state_hide_the_content() -> None:
    safe = vault()
    assert safe.is_empty
    safe.remove("Maria Gomez")
    assert not safe.is_empty
    assert "Maria" not in repr(safe) + repr(safe.restorer())


def test_a_straddling_placeholder_is_held_back() -> None:
    safe = vault()
    safe.remove("Maria Gomez")
    restorer = safe.restorer()
    assert restorer.push("Dear PER") == "Dear "
    assert restorer.push("SON_1") == ""
    assert restorer.push("") == ""
    assert restorer.push(", hello") == "Maria Gomez, hello"
    assert restorer.finish() == ""


def test_a_placeholder_whose_number_was_cut_off_names_nobody_else() -> None:
    names = [f"Person{letter} Name{letter}" for letter in "ABCDEFGHIJKL"]
    safe = vault(dict.fromkeys(names, "PERSON"))
    safe.remove(", ".join(names))
    for end, cut, restored in (
        ("PERSON_1", True, "PERSON_1"),
        ("PERSON_1", False, names[0]),
        ("PERSON_1.", True, f"{names[0]}."),
        ("PERSON_2", True, names[1]),
        ("PERSON_12", True, names[11]),
    ):
        stream = safe.restorer()
        assert stream.push(f"by {end}") + stream.finish(cut=cut) == f"by {restored}"


@pytest.mark.parametrize(
    "torn",
    ["PERSON_1", "person_1", "Person 1", "PERSON-1", "PERSON\\_1", "[PERSON_1", "**PERSON_1"],
)
def test_a_torn_placeholder_goes_however_it_is_written(torn: str) -> None:
    names = [f"Person{letter} Name{letter}" for letter in "ABCDEFGHIJKL"]
    safe = vault(dict.fromkeys(names, "PERSON"))
    safe.remove(", ".join(names))
    assert safe.without_torn_end(f"by {torn}") in ("by ", "by **")
    for whole in (f"by {torn}.", "by PERSON_2", "by PERSON_12", "by", "[P"):
        assert safe.without_torn_end(whole) == whole
    assert vault().without_torn_end("by PERSON_1") == "by PERSON_1"


def test_ordinary_text_is_not_held_back() -> None:
    safe = vault()
    safe.remove("Maria Gomez")
    assert safe.restorer().push("Nothing to see here") == "Nothing to see here"


def test_a_finished_restorer_takes_no_more() -> None:
    restorer = vault().restorer()
    assert restorer.push("a") + restorer.finish() == "a"
    with pytest.raises(StreamOrderError):
        restorer.push("b")
    with pytest.raises(StreamOrderError):
        restorer.finish()


def test_a_great_many_identifiers_take_linear_work() -> None:
    emails = {f"user{number}@example.org": "EMAIL" for number in range(2_000)}
    safe = vault(emails)
    text = " ".join(emails)
    assert safe.restore(safe.remove(text)) == text


PUBLIC = {"France": "LOCATION", "Einstein": "PERSON", "Ann": "PERSON", "a@b.org": "EMAIL"}


def test_public_names_alone_are_left() -> None:
    safe = vault(PUBLIC)
    text = "Was Einstein ever in France, as PERSON_1 says?"
    assert safe.remove(text) == text
    assert safe.is_empty
    assert safe.restore("Einstein, PERSON_1, LOCATION_1") == "Einstein, PERSON_1, LOCATION_1"
    assert safe.restorer().push("Einstein") == "Einstein"


@pytest.mark.parametrize("other", ["Ann", "a@b.org"])
def test_beside_something_private_public_names_are_removed(other: str) -> None:
    removed = vault(PUBLIC).remove(f"{other} met Einstein in France")
    assert not re.search("Ann|a@b|Einstein|France", removed)


def test_something_private_in_any_text_of_the_request_hides_public_names_in_all() -> None:
    safe = vault(PUBLIC)
    texts = ["How is France?", "Ann was there."]
    safe.prepare(texts)
    assert safe.remove(texts[0]) == "How is LOCATION_1?"
    assert safe.restore("LOCATION_1") == "France"


def test_from_the_first_private_text_on_everything_is_removed() -> None:
    safe = vault(PUBLIC)
    assert safe.remove("How is France?") == "How is France?"
    assert safe.remove("Ann knows France") == "PERSON_1 knows LOCATION_1"
    assert safe.remove("How is France?") == "How is LOCATION_1?"


def test_kinds_that_are_not_removed_make_nothing_private() -> None:
    safe = Vault(ListedFinder(PUBLIC), kinds={"LOCATION"})
    assert safe.remove("Ann met a@b.org in France") == "Ann met a@b.org in France"


FRAGMENTS = st.sampled_from(
    ["Maria Gomez", "maria", "Gomez", "Ann", "Annual", "PERSON_1", "person 1", "PERSON", "_", " ",
     "1", "2", "[", "]", "{", "}", "<", ">", "\\", "EMAIL_1", "EMAIL-2B", "PERSONA_1", "(", ")",
     "\u017f", "é", "漢", "\ud800", "maria@example.org", "\x00", "-", "A1", "Bonn", "PERSON_1B",
     "Rome", "LOCATION_1"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(FRAGMENTS, st.text(max_size=4)), max_size=14).map("".join)
SURFACES = st.dictionaries(
    st.one_of(FRAGMENTS, st.text(min_size=1, max_size=5)),
    st.sampled_from(["PERSON", "EMAIL", "IP", "PERSONA"]),
    max_size=6,
)


@given(st.lists(TEXTS, min_size=1, max_size=4), SURFACES, st.booleans())
@example(["[Ann]", "[[Ann]]"], {"Ann": "PERSON"}, True)
def test_restoring_what_was_removed_gives_the_text(
    texts: list[str], kinds: dict[str, str], prepared: bool
) -> None:
    safe = vault({**PEOPLE, **kinds})
    if prepared:
        safe.prepare(texts)
    removed = [safe.remove(text) for text in texts]
    assert [safe.restore(text) for text in removed] == texts


@given(TEXTS, SURFACES, st.data())
def test_any_split_of_the_stream_restores_the_same(
    text: str, kinds: dict[str, str], data: st.DataObject
) -> None:
    safe = vault({**PEOPLE, **kinds})
    removed = safe.remove(text)
    # What a model writes is not what it was given: other fragments around it, cut anywhere.
    answer = data.draw(TEXTS) + removed + data.draw(TEXTS)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=8)))
    restorer = safe.restorer()
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    restored = "".join([restorer.push(piece) for piece in pieces] + [restorer.finish()])
    assert restored == safe.restore(answer)


# Kinds that begin alike, that are hexadecimal or Roman numbers, that are one letter.
ANY_KIND = st.one_of(st.text("ABIX", min_size=1, max_size=4), st.sampled_from(["PERSON", "EMAIL"]))


@given(
    st.lists(TEXTS, min_size=1, max_size=3),
    st.dictionaries(
        st.one_of(FRAGMENTS, st.text(min_size=1, max_size=5)), ANY_KIND, min_size=1, max_size=6
    ),
    st.data(),
)
def test_any_text_with_any_placeholders_comes_back_in_any_split(
    texts: list[str], kinds: dict[str, str], data: st.DataObject
) -> None:
    # In the form of a placeholder, too: of each kind, and of what it becomes when that is taken.
    texts = [data.draw(st.sampled_from([t, *(f"{t} {k}{j}_1" for k in kinds.values()
                                             for j in ("", "A"))])) for t in texts]  # fmt: skip
    safe = Vault(ListedFinder(kinds), kinds=kinds.values())
    safe.prepare(texts)
    removed = [safe.remove(text) for text in texts]
    for text, sent in zip(texts, removed, strict=True):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
        restorer = safe.restorer()
        pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
        assert "".join([*map(restorer.push, pieces), restorer.finish()]) == text


def test_a_hundred_thousand_emails_are_found_removed_and_restored() -> None:
    text = ", ".join(f"user{number}@gomez.org" for number in range(100_000))
    safe = Vault(IdentifierFinder())
    removed = safe.remove(text)
    assert "@" not in removed
    assert len(safe.placeholders) == 100_000
    assert safe.restore(removed) == text


@pytest.mark.parametrize("hostile", ["a" * 1_000_000, "(" * 50_000 + ")" * 50_000, "[{<" * 20_000])
def test_hostile_text_goes_through_finder_and_vault(hostile: str) -> None:
    text = f"{hostile} maria@gomez.org {hostile}"
    safe = Vault(IdentifierFinder())
    removed = safe.remove(text)
    assert "gomez" not in removed
    assert safe.restore(removed) == text


def test_a_huge_identifier_over_and_over_does_not_fill_the_memory() -> None:
    huge = f"https://gomez.org/{'-' * 200_000}x"
    safe = Vault(IdentifierFinder())
    assert safe.remove(f"Repeat {huge}") == "Repeat URL_1"
    stream = safe.restorer()
    restored = "".join([*map(stream.push, ["URL_1 "] * 1_000), stream.finish()])
    times = MAXIMUM_RESTORED_CHARACTERS // len(huge)
    assert restored == f"{huge} " * times + "URL_1 " * (1_000 - times)


def test_hostile_text_is_prepared_in_one_pass() -> None:
    text = "P" * 500_000 + " PERSON_1 " * 10_000 + "[" * 100_000
    safe = vault()
    assert safe.restore(safe.remove(text)) == text
