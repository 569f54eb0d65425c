import pytest
from simulated_host import WordVocabulary

from peerllm.coordinator.document_parts import parts_of
from peerllm.coordinator.document_task import DocumentTask, TaskKind
from peerllm.coordinator.table_headers import headers_of

count = WordVocabulary().count
ROWS = [f"Employee {n}{{0}}Dept {n % 7}{{0}}{30_000 + n}" for n in range(300)]


def table(mark: str, rule: str = "") -> str:
    header = mark.join(("name", "department", "monthly pay"))
    return "\n".join((header, *filter(None, [rule]), *(row.format(mark) for row in ROWS)))


def parts(kind: TaskKind, document: str, size: int = 400) -> tuple[str, ...]:
    task = DocumentTask(kind=kind, instruction="Do it.", document=document, system=())
    return parts_of(task, size, count)


@pytest.mark.parametrize("kind", ["extract", "question", "summarise", "classify"])
@pytest.mark.parametrize(
    "document", [table(","), table(";"), table("\t"), table(" | ", "--- | --- | ---")]
)
def test_each_part_of_a_table_is_told_its_header(kind: TaskKind, document: str) -> None:
    found = parts(kind, f"Pay in spring.\n\n{document}\n\nThat is all.")
    header = document.partition("\n")[0]
    assert len(found) >= 3
    assert all(part.count(header) == 1 for part in found)
    assert all(count(part) <= 400 for part in found)


def test_a_table_written_anew_has_its_header_once() -> None:
    assert sum(part.count("monthly pay") for part in parts("rewrite", table(","))) == 1


def test_a_header_is_told_only_among_its_own_rows() -> None:
    prose = "It was calm. " * 500
    for part in parts("extract", f"{table(',')}\n\n{prose}"):
        begins_among_rows = part.startswith(("What follows", "name"))
        assert begins_among_rows == ("monthly pay" in part)


def test_a_header_that_leaves_no_room_is_not_told() -> None:
    names = ",".join(f"column {n} of these" for n in range(90))
    document = "\n".join((names, *(",".join(map(str, range(n, n + 90))) for n in range(200))))
    found = parts("extract", document)
    assert sum("column 7 of these" in part for part in found) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Oh rose, oh thorn, oh bee\nOh day, oh night, oh sea\nOh you, oh all, oh me\n" * 9,
        "3,4,5\n6,7,8\n9,10,11\n" * 9,
        "a,a,b\n1,2,3\n4,5,6\n" * 9,
        "Ann said yes.\nBen said no.\n" * 9,
    ],
)
def test_lines_that_name_no_columns_are_no_header(text: str) -> None:
    middle = text[len(text) // 2 :].partition("\n")[2]
    assert headers_of(text, [text, middle]) == ("", "")
