"""The real library, in the test's own process: small files of noise."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from peerllm.peer.chat import plain_tokens
from peerllm.peer.errors import EngineError, ModelError, PromptError
from peerllm.peer.legacy_format import PIECE_TOKENS
from peerllm.peer.legacy_model import LegacyModel
from tests.peer.legacy_files import CONTEXT, END, gpt2_file, llama_file


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LegacyModel]:
    path = tmp_path_factory.mktemp("gpt2") / "model.bin"
    path.write_bytes(gpt2_file())
    model = LegacyModel(path, "gpt2", context_tokens=CONTEXT, threads=1)
    yield model
    model.close()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LegacyModel]:
    path = tmp_path_factory.mktemp("llama") / "model.bin"
    path.write_bytes(llama_file())
    model = LegacyModel(path, "llama", context_tokens=CONTEXT, threads=1)
    yield model
    model.close()


def text_of(model: LegacyModel, tokens: list[int]) -> str:
    return b"".join(map(model.piece, tokens)).decode()


@pytest.mark.parametrize("text", ["hello the cat", "\u00e9\U0001f600" * 40, " \n\t ", "x" * 100])
def test_a_text_comes_back_out_of_its_tokens(
    gpt2: LegacyModel, llama: LegacyModel, text: str
) -> None:
    # The emoji take more tokens than characters: the library's own face has no room for them.
    for model in (gpt2, llama):
        model.context_tokens = 1000
        tokens = model.tokenize(text, control=False)
        model.context_tokens = CONTEXT
        assert text_of(model, tokens) == text


def test_control_strings_in_a_text_steer_nothing(gpt2: LegacyModel, llama: LegacyModel) -> None:
    # The library itself makes the end of a sequence out of a user's text.
    assert any(map(llama.is_end, llama.tokenize("a</s>b", control=False)))
    spelt = plain_tokens("a</s>b", llama)
    assert not any(map(llama.is_control, spelt))
    assert text_of(llama, spelt) == "a</s>b"
    (end,) = llama.tokenize("</s>", control=True)
    assert llama.is_end(end)
    assert llama.piece(end) == b""

    assert not any(map(gpt2.is_control, plain_tokens(f"a{END}b", gpt2)))
    assert [gpt2.is_end(token) for token in gpt2.tokenize(f"a{END}", control=True)] == [False, True]
    assert gpt2.markers == ("", END)
    assert gpt2.leading_token is None
    assert llama.leading_token == 1


def test_a_vocabulary_without_an_end_ends_with_no_token(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(gpt2_file(tokens=[b"!", b"a", b"b", b" a"]))
    model = LegacyModel(path, "gpt2", context_tokens=8, threads=1)
    # The library names token 0 then, which is a letter.
    assert not model.is_end(0)
    assert model.markers == ("", "")
    assert model.tokenize("a a", control=True) == [1, 3]
    with pytest.raises(PromptError, match="cannot spell the prompt"):
        model.tokenize("abc", control=False)
    model.close()


def test_texts_that_would_end_or_stall_the_library_are_refused_at_once(
    gpt2: LegacyModel, llama: LegacyModel
) -> None:
    with pytest.raises(PromptError, match="NUL"):
        gpt2.tokenize("a\0b", control=False)
    # A word of 40,000 letters ends the library's process, one of 10,000 takes it 6 s.
    for text in ("a" * 1_000_000, "a " * 500_000, "\n" * 1_000_000):
        for model in (gpt2, llama):
            with pytest.raises(PromptError, match="more than 128 tokens") as caught:
                model.tokenize(text, control=False)
            assert caught.value.reason == "context_exceeded"


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_same_seed_draws_the_same_tokens_whatever_came_before(
    kind: str, request: pytest.FixtureRequest
) -> None:
    model: LegacyModel = request.getfixturevalue(kind)
    prompt = model.tokenize("hello the cat", control=False)

    def answer(seed: int, temperature: float, penalty: float = 1.0) -> list[int]:
        model.begin()
        for at in range(0, len(prompt), PIECE_TOKENS):
            model.evaluate(prompt[at : at + PIECE_TOKENS])
        tokens: list[int] = []
        for number in range(12):
            tokens.append(
                model.draw(
                    tokens,
                    temperature=temperature,
                    top_p=0.9,
                    repetition_penalty=penalty,
                    seed=seed + number,
                )
            )
            model.evaluate(tokens[-1:])
        return tokens

    greedy = answer(1, 0.0)
    assert answer(99, 0.0) == greedy
    assert answer(1, 1.5) == answer(1, 1.5)
    assert answer(1, 1.5) != answer(1000, 1.5)
    # Nothing is drawn twice when repeating costs everything.
    assert len(set(answer(1, 0.0, 1000.0))) == 12


def test_a_piece_never_leaves_the_context(gpt2: LegacyModel) -> None:
    gpt2.begin()
    for tokens in ([], [1] * (PIECE_TOKENS + 1)):
        with pytest.raises(EngineError):
            gpt2.evaluate(tokens)
    for _ in range(CONTEXT // PIECE_TOKENS):
        gpt2.evaluate([1] * PIECE_TOKENS)
    with pytest.raises(EngineError, match="at place 128 of 128"):
        gpt2.evaluate([1])


def test_a_file_the_library_does_not_take_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"lmgg" + bytes(40))
    with pytest.raises(ModelError, match="cannot load"):
        LegacyModel(path, "gpt2", context_tokens=8, threads=1)
