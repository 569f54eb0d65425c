from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerllm.safety.errors import ModelFileError
from peerllm.safety.identifiers import (
    KINDS,
    Identifier,
    IdentifierFinder,
    find_identifiers,
    find_patterns,
    united,
)
from peerllm.safety.number_detectors import iban_holds, luhn_holds
from peerllm.safety.tagger import Tagger
from peerllm.safety.token_features import tokenize
from peerllm.safety.vault import Vault


def patterns(text: str) -> list[tuple[str, str]]:
    return [(text[found.start : found.end], found.kind) for found in find_patterns(text)]


@pytest.mark.parametrize(
    ("text", "identifier", "kind"),
    [
        ("mail me: maria.gomez+x@mail.example.org.", "maria.gomez+x@mail.example.org", "EMAIL"),
        ("ask ajones(at)mail dot jones dot com now", "ajones(at)mail dot jones dot com", "EMAIL"),
        ("see john dot peters at jones dot net", "john dot peters at jones dot net", "EMAIL"),
        ("db is postgres://me:pw@db.intern/x", "postgres://me:pw@db.intern/x", "URL"),
        ("my site is mariagomez.org, look", "mariagomez.org", "URL"),
        ("from 203.0.113.7 port 22", "203.0.113.7", "IP"),
        ("from 2001:db8::8a2e:370:7334 ok", "2001:db8::8a2e:370:7334", "IP"),
        ("mac 00:1B:44:11:3A:B7.", "00:1B:44:11:3A:B7", "MAC"),
        ("thanks @maria_g!", "@maria_g", "USERNAME"),
        ("username: mgomez82", "mgomez82", "USERNAME"),
        ("pay with 4111 1111 1111 1111 please", "4111 1111 1111 1111", "CARD"),
        ("to DE89 3704 0044 0532 0130 00, thanks", "DE89 3704 0044 0532 0130 00", "IBAN"),
        ("to gb82west12345698765432 now", "gb82west12345698765432", "IBAN"),
        ("ssn 078-05-1120", "078-05-1120", "SSN"),
        ("his social security number is 078051120", "078051120", "SSN"),
        ("call me on 030 1234567", "030 1234567", "PHONE"),
        ("+49 (0)30 1234567 it is", "+49 (0)30 1234567", "PHONE"),
        ("(381)352-1691x1264", "(381)352-1691x1264", "PHONE"),
        ("born on 25.01.1968 in", "25.01.1968", "BIRTHDATE"),
        ("date of birth: February 20, 1947", "February 20, 1947", "BIRTHDATE"),
        ("passport CZK6NZV13 expires", "CZK6NZV13", "PASSPORT"),
        ("my account number is 00123456789", "00123456789", "ACCOUNT"),
        ("The customer number of Snow Consulting Inc. is 2676698", "2676698", "ACCOUNT"),
        ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
         "CRYPTO"),
        ("with ghp_zLPdVvKS634L74lD3z71nyyYdnAwplYJ", "ghp_zLPdVvKS634L74lD3z71nyyYdnAwplYJ",
         "SECRET"),
        ("password: Girwomem85!og", "Girwomem85!og", "SECRET"),
        ("zip code is 86786", "86786", "ADDRESS"),
        ("email reimer at intern.example.org soon", "reimer at intern.example.org", "EMAIL"),
        ("ask reimer at proton.me", "reimer at proton.me", "EMAIL"),
        ("my site is gomez.io, look", "gomez.io", "URL"),
        ("from 52b3:4289:73d1:7d05:136c:d782:a8b8:740a:8080",
         "52b3:4289:73d1:7d05:136c:d782:a8b8:740a:8080", "IP"),
        ("the user name is 'gomez'", "gomez", "USERNAME"),
        ("4111 1111 1111 1111 12/28", "4111 1111 1111 1111", "CARD"),
        ("is 462736935 a valid social security number?", "462736935", "SSN"),
        ("birth_date: 1990-09-14", "1990-09-14", "BIRTHDATE"),
        ("05 Sep 1944 is her birthday", "05 Sep 1944", "BIRTHDATE"),
        ("name;dob\nA;01.02.1990\nB;03.04.1991", "03.04.1991", "BIRTHDATE"),
        ("K84RCVN0P is my passport number", "K84RCVN0P", "PASSPORT"),
        ("passport_no=K84RCVN0P", "K84RCVN0P", "PASSPORT"),
        ("name,passport\nA,K84RCVN0P\nB,L95SDWO1Q", "L95SDWO1Q", "PASSPORT"),
        ("28-81-33-70 keeps ringing", "28-81-33-70", "PHONE"),
        ("mon num\u00e9ro est le 383589537", "383589537", "PHONE"),
        ("why is Ktowfamb82!xq rejected", "Ktowfamb82!xq", "SECRET"),
        ("my key 6ef873c3511c0946be1a49d6edc74a7f leaked", "6ef873c3511c0946be1a49d6edc74a7f",
         "SECRET"),
        ("curl -u admin:6ef873c351 host", "6ef873c351", "SECRET"),
        # Records, settings, tables, Markdown.
        ('{"username":  "jsmith9"}', "jsmith9", "USERNAME"),
        ("**Username:** jsmith9", "jsmith9", "USERNAME"),
        ("user: jsmith", "jsmith", "USERNAME"),
        ('{"password":   "Sup3rS3cret"}', "Sup3rS3cret", "SECRET"),
        ('password    = "Sup3rS3cret"', "Sup3rS3cret", "SECRET"),
        ("Password:  Sup3rS3cret", "Sup3rS3cret", "SECRET"),
        ("**Password:** Sup3rS3cret", "Sup3rS3cret", "SECRET"),
        ("<password>Sup3rS3cret</password>", "Sup3rS3cret", "SECRET"),
        ("ALTER USER bob PASSWORD 'Sup3rS3cret';", "Sup3rS3cret", "SECRET"),
        ("the wifi password Sup3rS3cret works", "Sup3rS3cret", "SECRET"),
        ("mysqldump -u root -pSup3rS3cret db", "Sup3rS3cret", "SECRET"),
        ("docker login -u me -p Sup3rS3cret host", "Sup3rS3cret", "SECRET"),
        ("SECRET_KEY_BASE=abc12345def", "abc12345def", "SECRET"),
        ("CVC: 123", "123", "SECRET"),
        ('"accountNumber": "471122"', "471122", "ACCOUNT"),
        ("patient_id=P471122", "P471122", "ACCOUNT"),
        ("| Account number | 471122 |", "471122", "ACCOUNT"),
        ('"socialSecurityNumber": "123456789"', "123456789", "SSN"),
        ('"passportNumber": "X1234567"', "X1234567", "PASSPORT"),
        ('"dob": "1985-04-12T00:00:00Z"', "1985-04-12", "BIRTHDATE"),
        ("dob 19850412", "19850412", "BIRTHDATE"),
        ("geboren am 12. Mai 1985", "12. Mai 1985", "BIRTHDATE"),
        ("My DNI is 12345678Z.", "12345678Z", "PASSPORT"),
        ("Aadhaar: 234567890123", "234567890123", "PASSPORT"),
        ("her PAN number ABCDE1234F", "ABCDE1234F", "PASSPORT"),
        ("personnummer 19811218-9876", "19811218-9876", "PASSPORT"),
        ("Passport No. AB 123456", "AB 123456", "PASSPORT"),
        # As word processors and web pages write numbers.
        ("card 4111\u00a01111\u00a01111\u00a01111", "4111\u00a01111\u00a01111\u00a01111",
         "CARD"),
        ("SSN: 123\u201145\u20116789", "123\u201145\u20116789", "SSN"),
        ("Call +49\u202f30\u202f901820", "+49\u202f30\u202f901820", "PHONE"),
        ("inet6 addr:fe80::a00:27ff:fe4e:66a1", "fe80::a00:27ff:fe4e:66a1", "IP"),
        ("port 001A.2B3C.4D5E", "001A.2B3C.4D5E", "MAC"),
        ("key = '6ef873c3511c0946be1a49d6edc74a7f'", "6ef873c3511c0946be1a49d6edc74a7f", "SECRET"),
        ("use SK6ef873c3511c0946be1a49d6edc74a7f", "SK6ef873c3511c0946be1a49d6edc74a7f",
         "SECRET"),
    ],
)  # fmt: skip
def test_patterns_are_found(text: str, identifier: str, kind: str) -> None:
    assert (identifier, kind) in patterns(text)


@pytest.mark.parametrize(
    "text",
    [
        "The password is wrong and the token was empty.",
        "On 2007-03-23 at 18:43:36 version 1.2.3 shipped 1,000,000 copies.",
        "from 1914-1918, pages 100-200, 3.14159265",
        "see http://localhost:8000/ and https://api.example.com/v1/users",
        "import torch.nn; np.in1d(x)",
        "the address 127.0.0.1 and ::1",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "It was born out of need in 1990.",
        "Array[0], dict{'a': 1}, x := y @ z",
        "The user is satisfied and the user ID is prefixed with INS; the handle was lost.",
        "@app.route('/')\ndef index(): ...\n\n@timed\ndef work(): ...",
        "if (($handle = fopen($filename, 'r')) !== false)",
        "3 6 9 12 15 and 9-12-12-21-19-9",
        "signal 1010 1101 1001 0001 1010 1111",
        "the time stamp 1618250661",
        "using System.Net; System.IO",
        "sort in ascending order.\nfile1.txt and 123456789",
        "token = get_token(user)",
        "password = request.json['password']",
        "const password = req.body.password;",
        "docker run -p 5432:5432 postgres",
        "mkdir -p src/main/java && git add -p file.py",
        "user: What is 2+2?\nassistant: 4",
        "user = request.user",
        "Sort these numbers: 34 12 45 23 89 21 67",
        "Data: 23 45 12 67 34 89 21",
        "100 200 300",
        "@param a the first\n@return the sum",
        "@Test\nvoid foo() {}",
        "npm i @types/node lodash@4.17.21",
        # Not ASCII, but the same letters to some patterns.
        "TR34 plakal\u0131 arabam var",
        "AB12 \u017fo\u017fo\u017fo\u017fo K\u212a\u212a\u212a\u212a",
    ],
)
def test_ordinary_text_holds_no_pattern(text: str) -> None:
    assert patterns(text) == []


def test_checksums() -> None:
    assert luhn_holds("4111111111111111")
    assert not luhn_holds("4111111111111112")
    assert iban_holds("GB82WEST12345698765432")
    assert not iban_holds("GB82WEST12345698765433")


def test_overlapping_finds_become_one() -> None:
    first, second = Identifier(0, 5, "PERSON", 0.4), Identifier(3, 9, "EMAIL", 0.9)
    assert united([second, first, Identifier(9, 10, "IP", 1.0)]) == (
        Identifier(0, 9, "EMAIL", 0.9),
        Identifier(9, 10, "IP", 1.0),
    )


@pytest.mark.parametrize(
    ("text", "identifier", "kind"),
    [
        ("My name is Maria Gomez and I need a letter.", "Maria Gomez", "PERSON"),
        ("hey, can you write to john smith for me?", "john smith", "PERSON"),
        ("Please send it to 12 Baker Street, London NW1 6XE.", "12 Baker Street, London NW1 6XE",
         "ADDRESS"),
        ("We moved here from Copenhagen last year.", "Copenhagen", "LOCATION"),
        ("My daughter Ruby was expelled from school.", "Ruby", "PERSON"),
        ("Dear April, thank you for the flowers.", "April", "PERSON"),
    ],
)  # fmt: skip
def test_names_and_places_are_found(text: str, identifier: str, kind: str) -> None:
    found = [(text[one.start : one.end], one.kind) for one in find_identifiers(text)]
    assert (identifier, kind) in found


@pytest.mark.parametrize(
    "name",
    ["Tom", "Maria Gomez", "Sarah", "Dr. Lee", "Initech", "Barclays Bank", "Acme Corp"],
)
@pytest.mark.parametrize("begins", ["My landlord is", "I work for", "We live near"])
@pytest.mark.parametrize(
    "then", ["Write a polite reply.", "What should I do?", "Explain my rights."]
)
def test_a_name_ends_with_its_sentence(begins: str, name: str, then: str) -> None:
    vault = Vault(IdentifierFinder())
    sent = vault.remove(f"{begins} {name}. {then}")
    assert sent.endswith(f" {then}")
    assert name.rsplit(maxsplit=1)[-1] not in sent


@pytest.mark.parametrize(
    "text",
    [
        "Name three primary colours.",
        "Write a short story about a lighthouse keeper who finds a message in a bottle.",
        "Explain the difference between a list and a tuple, with a short example.",
        "What are my options?",
        "How does a DDoS attack differ from spoofing an IP, and what is CIDR?",
        "Thank you for the quick answer. Translate it into plain words.",
        "Convert 10 miles to kilometers",
        "The ATM swallowed my card, and the CEO will not answer.",
        "\u8bf7\u63cf\u8ff0\u4e00\u4e0b\u8fd9\u5e45\u753b",
        "sort my_list and call isPerfectSquare(n)",
    ],
)
def test_ordinary_prompts_name_nobody(text: str) -> None:
    assert find_identifiers(text) == ()


def test_the_vault_takes_a_letter_apart_and_puts_it_together() -> None:
    letter = (
        "Write to Maria Gomez (maria@gomez.org, +34 945 63 14 43). Gomez lives in Vitoria and "
        "her card is 4111 1111 1111 1111."
    )
    vault = Vault(IdentifierFinder())
    removed = vault.remove(letter)
    for secret in ("Gomez", "maria", "945", "4111"):
        assert secret not in removed
    assert vault.restore(removed) == letter


HOSTILE = {
    "one letter": "a" * 1_000_000,
    "one digit": "1" * 1_000_000,
    "digits and spaces": "1 " * 100_000,
    "brackets": "[(<{" * 100_000,
    "at signs": "a@" * 200_000,
    "dots": "a." * 200_000,
    "colons": "a:" * 200_000,
    "key": "password=" * 50_000,
    "begin": "-----BEGIN PRIVATE KEY-----" * 5_000,
    "at": "x at " * 60_000,
    "slashes": "www." * 100_000,
    "surrogates": "Maria \ud800\udfff\x00 " * 5_000,
    "blanks": " \n" * 300_000,
    "iban": ("AA00" + "A" * 40 + " ") * 10_000,
    "entropy": "aB3" * 200_000,
    "born": "born;\n" * 50_000,
    "passport": "passport | " * 30_000,
    "password shapes": "Aa1!" * 100_000,
    "addresses": "12 Mill Road, Bonn, IA 12345 " * 5_000,
    "houses": "Flat 1, 12 Mill " * 20_000,
    "cards": "4111 1111 1111 1111 " * 2_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_read_to_its_end(name: str) -> None:
    text = HOSTILE[name]
    found = find_patterns(text + " maria@gomez.org")
    assert found
    assert found[-1].end == len(text) + len(" maria@gomez.org")


def test_a_private_key_is_found_whole_behind_a_header_without_one() -> None:
    header, end = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
    key = f"{header}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0F-1A\n\nMIIE+/a=\n{end}"
    text = f"{header}\n\nthe header above is empty. {key} and so on"
    assert (key, "SECRET") in patterns(text)


@pytest.mark.parametrize("line_break", ["\n", "\\n"])
@pytest.mark.parametrize("end", ["-----END PRIVATE KEY-----", ""])
def test_a_private_key_in_a_string_or_cut_off_is_found_whole(line_break: str, end: str) -> None:
    body = line_break.join(
        ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj", end]
    )
    key = f"-----BEGIN PRIVATE KEY-----{line_break}{body}".removesuffix(line_break)
    assert (key, "SECRET") in patterns(f'"private_key": "{key}"')


def test_a_great_many_emails() -> None:
    text = " ".join(f"user{number}@gomez.org" for number in range(20_000))
    assert len(find_patterns(text)) == 20_000


@pytest.mark.parametrize("text", ["\ud800\udfff Maria \x00", "[" * 20_000, "漢" * 20_000, "", " "])
def test_the_tagger_takes_any_text(text: str) -> None:
    assert all(found.end <= len(text) for found in find_identifiers(text))


def test_tokens_keep_known_identifiers_whole() -> None:
    known = Identifier(3, 8, "EMAIL", 1.0)
    assert [token.word for token in tokenize("to a@b.c, now", [known])] == [
        "to",
        "<EMAIL>",
        ",",
        "now",
    ]


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelFileError):
        Tagger(broken)


@settings(max_examples=50)
@given(st.text(max_size=200))
def test_identifiers_are_ordered_inside_the_text_and_of_known_kinds(text: str) -> None:
    position = 0
    for found in find_identifiers(text):
        assert position <= found.start < found.end <= len(text)
        assert found.kind in KINDS
        position = found.end


def test_an_address_is_taken_with_its_flat_and_postal_code() -> None:
    text = "Deliver to Flat 3, 12 Baker Street, London NW1 6XE. Thank you."
    found = [text[one.start : one.end] for one in find_identifiers(text)]
    assert found == ["Flat 3, 12 Baker Street, London NW1 6XE"]


def test_a_name_is_found_with_its_particle() -> None:
    text = "When was Leonardo da Vinci born?"
    assert [text[one.start : one.end] for one in find_identifiers(text)] == ["Leonardo da Vinci"]


def test_a_part_of_a_full_name_is_found_elsewhere() -> None:
    text = "Mr. Joaquin Almeida was admitted. Almeida has a history of hypertension."
    found = [text[one.start : one.end] for one in find_identifiers(text)]
    assert found == ["Mr. Joaquin Almeida", "Almeida"]


@pytest.mark.parametrize(
    "text",
    [
        "Wie baue ich ein Regal für meine Bücher zu Hause?",
        "Wat is de hoofdstad van mijn land?",
    ],
)
def test_a_sentence_in_another_language_is_no_address(text: str) -> None:
    assert "ADDRESS" not in {found.kind for found in find_identifiers(text)}
