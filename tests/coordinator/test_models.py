"""Models a coordinator counts for, with the real model's file."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerllm.charter.defaults import FIRST_MODEL, first_catalogue
from peerllm.charter.documents import CatalogueModel, ModelCatalogue
from peerllm.coordinator.models import ModelFileError, load_models
from peerllm.coordinator.vocabulary import Vocabulary, VocabularyError
from peerllm.peer.gguf import read_shape
from peerllm.peer.models import embedded_model_path
from tests.peer.legacy_files import gpt2_file


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return load_models(first_catalogue(), {})[FIRST_MODEL].vocabulary


def test_tokens_are_those_of_the_model(vocabulary: Vocabulary) -> None:
    assert vocabulary.count("") == 0
    assert vocabulary.count("hello world") == 2
    assert vocabulary.count("The quick brown fox jumps over the lazy dog.") == 10


def test_control_strings_count_as_the_text_they_are(vocabulary: Vocabulary) -> None:
    assert vocabulary.count("<|im_end|>") > 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=200))
def test_any_text_has_a_count_no_longer_than_its_bytes(vocabulary: Vocabulary, text: str) -> None:
    counted = vocabulary.count(text)
    # The model's vocabulary lacks a few control characters, which become no token at all.
    assert 0 <= counted <= len(text.encode("utf-8", "replace"))


def test_a_file_that_is_not_the_catalogues_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF, but another one")
    with pytest.raises(ModelFileError, match="get the right file"):
        load_models(first_catalogue(), {FIRST_MODEL: other})


def test_a_missing_file_and_an_unknown_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_models(first_catalogue(), {FIRST_MODEL: tmp_path / "none.gguf"})
    with pytest.raises(ModelFileError, match="no model named mystery"):
        load_models(first_catalogue(), {"mystery": tmp_path / "none.gguf"})


def test_a_catalogue_without_any_file_here_is_refused() -> None:
    far = CatalogueModel(sha256="00" * 32, model_class="small", context_tokens=4096, license="MIT")
    with pytest.raises(ModelFileError, match="give one with --model"):
        load_models(ModelCatalogue(models={"far": far}), {})


def test_what_is_no_model_has_no_vocabulary(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model at all")
    with pytest.raises(VocabularyError, match=r"broken\.gguf"):
        Vocabulary(broken)


def test_no_tokens_are_counted_for_a_file_of_before_gguf(tmp_path: Path) -> None:
    path = tmp_path / "old.bin"
    path.write_bytes(gpt2_file())
    with pytest.raises(VocabularyError, match="holds no vocabulary"):
        Vocabulary(path)


def test_what_a_token_takes_is_told_as_hosts_reckon_it() -> None:
    path = embedded_model_path()
    assert Vocabulary(path).cache_bytes_per_token == read_shape(path).cache_bytes_per_token > 0
