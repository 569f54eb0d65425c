import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.safety.address_detectors import detect_addresses


def addresses(text: str) -> list[str]:
    return [text[found.start : found.end] for found in detect_addresses(text)]


@pytest.mark.parametrize(
    "address",
    [
        "807 Deborah Estate Apt. 573\nStephensshire, IA 02219",
        "Unit 1301 Box 3782\nDPO AA 76879",
        "USNS Acevedo\nFPO AA 73377",
        "Flat 28C, Marie Squares, West Joan, MK8 5BB",
        "Studio 16r\nStacey Green\nLake Thomas\nB4 1ZR",
        "3 Burns Lake, Thompsonberg, BR5 9YA",
        "Brigitte-Juncken-Platz 3\n06120 Forchheim",
        "Dehmelallee 52, 25837 Bad Mergentheim",
        "Kochstr. 9-5, 19648 Rothenburg ob der Tauber",
        "18, rue Manon Roux\n20215 Lelièvre",
        "chemin Thérèse Lefort, 90736 Sainte Paulette-les-Bains",
        "Cuesta de Julie Echeverría 5\nValencia, 24438",
        "Calle Esmeralda Pujadas 17 Piso 1 , León, 22931",
        "Incrocio Baldassare, 80 20005, Pogliano Milanese (MI)",
        "Viale Maura, 0 Piano 7\n26865, San Rocco Al Porto (LO)",
        "04/01, Sha, Madurai-469448",
        "H.No. 357\nKorpal Path\nShimla-878914",
        "65 Alt Reinickendorf 86\nCandeias, Brasil Street\n57006",
    ],
)
def test_whole_addresses_are_found(address: str) -> None:
    assert addresses(f"Maria Gomez lives at {address}, as you know.") == [address]
    assert addresses(f"Ship it to {address}.\n\nThanks, Maria") == [address]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10115",
        "In 2019 Acme Corp sold 123456 shares.",
        "On Monday 12 March 2021, Bonn 53111 visitors came",
        "Table 3 Results, 10000",
        "id,name,salary\n1,John,60000\n2,Jane,40000",
        "100 Widgets, 20000 Gadgets",
        "Python 3.11 Release, 12345",
        "room 5, ask for 12345",
        "12 high street",
    ],
)
def test_numbers_beside_names_are_no_addresses(text: str) -> None:
    assert addresses(text) == []


def test_a_name_before_the_house_and_a_request_behind_the_code_stay() -> None:
    text = "Maria Gomez\n12 Mill Road\nBonnville, IA 02219\n\nDear Sir, Please answer"
    assert addresses(text) == ["12 Mill Road\nBonnville, IA 02219"]
    assert addresses("I live at Lehmannring 129\n00583 Ebern and I want") == [
        "Lehmannring 129\n00583 Ebern"
    ]


@given(
    st.lists(
        st.sampled_from(
            [
                "12",
                "Mill",
                "Road",
                "12345",
                "MK8 5BB",
                ",",
                "\n",
                " ",
                "rue",
                "Flat",
                "(LC)",
                "de",
                "-",
            ]
        ),
        max_size=60,
    )
)
def test_finds_lie_in_order_inside_the_text(parts: list[str]) -> None:
    text = " ".join(parts)
    position = 0
    for found in detect_addresses(text):
        assert position <= found.start < found.end <= len(text)
        position = found.end
