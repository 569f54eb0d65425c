"""What an operator may write down about stronger judges, and what becomes of the keys."""

import json
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerllm.safety.judge import SafetyThresholds, Verdict
from peerllm.safety.judge_settings import (
    JudgeSettings,
    JudgeSettingsError,
    open_cascade,
    read_judge_settings,
)
from tests.safety.judge_stage import azure_reply, judge_server, replying, response

KEY = "canary-key-4711"
STANDARD = SafetyThresholds(2, {"overall": 600, "hate": 600}, {"hate": (300, 900)})
DOUBTED = STANDARD.verdict({"hate": 500})


def written(*lines: str, top: str = "") -> bytes:
    return "\n".join([top, "[[judges]]", *lines]).encode()


GUARD = ('kind = "guard"', 'format = "llama-guard-3"')
AZURE = ('kind = "azure"', 'key_environment = "KEY"', "texts_leave_the_house = true")


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://10.1.2.3:8080", True),
        ("http://localhost:8080", True),
        ("https://guard.example", True),
        ("http://guard.example", False),
        ("http://8.8.8.8:8080", False),
        ("ftp://10.1.2.3", False),
        ("https://user:password@guard.example", False),
        ("https://guard.example/?a=b", False),
        ("https://", False),
        ("https://guard.example:99999", False),
        ("https://[guard", False),
        ("https://guard..example", False),
        (f"https://{'g' * 64}.example", False),
        ("https://xn--.example", False),
        ("https://[::1]:8080", True),
        ("", False),
    ],
)
def test_a_guard_is_spoken_to_in_clear_only_at_home(url: str, good: bool) -> None:
    raw = written(*GUARD, f"url = {json.dumps(url)}")
    if good:
        assert read_judge_settings(raw).judges[0].url == url
    else:
        with pytest.raises(JudgeSettingsError, match="url must"):
            read_judge_settings(raw)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "judges"),
        (b"judges = []", "judges"),
        (b"= nonsense", "the judges' settings"),
        (b"\xff\xfe", "the judges' settings"),
        (b"a" * 70_000, "70000 bytes"),
        (written('kind = "oracle"', 'url = "https://a.example"'), "kind"),
        (written(*GUARD, 'url = "https://a.example"', "key = 1"), "unknown field `key`"),
        (written(*AZURE[:2], 'url = "https://a.example"'), "texts_leave_the_house = true"),
        (written(*AZURE, 'url = "http://10.0.0.1"'), "https://"),
        (written(AZURE[0], AZURE[2], 'url = "https://a.example"'), "needs a key"),
        (written(*AZURE, 'url = "https://a.example"', 'key_file = "a"'), "not both"),
        (
            written(*GUARD, 'url = "https://a.example"', top='when_down = "allow"'),
            "when_down",
        ),
        (
            written(
                *GUARD,
                'url = "https://a.example"',
                top="attempt_seconds = 9\ndeadline_seconds = 5",
            ),
            "attempt_seconds is 9",
        ),
        (written(*GUARD, 'url = "https://a.example"', top="attempts = 0"), "attempts"),
        (written(*GUARD, 'url = "https://a.example"', top="attempt_seconds = nan"), "attempt"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(raw: bytes, sentence: str) -> None:
    with pytest.raises(JudgeSettingsError) as caught:
        read_judge_settings(raw)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=40)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode()))
@pytest.mark.parametrize("before", [b"", written(*GUARD) + b"\n"])
def test_any_file_is_read_or_refused(before: bytes, raw: bytes) -> None:
    with suppress(JudgeSettingsError):
        assert isinstance(read_judge_settings(before + raw), JudgeSettings)


async def decided(raw: bytes, **environment: str) -> Any:
    async with open_cascade(
        read_judge_settings(raw),
        environment=environment,
        jitter=repeat(0.0),
        told=lambda _judge, _outcome: None,
    ) as cascade:
        assert KEY not in repr(cascade)
        return await cascade.decide(DOUBTED, "a text", "prompt", STANDARD)


@pytest.mark.parametrize("from_file", [False, True])
async def test_a_key_comes_from_a_file_or_the_environment(from_file: bool, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY}\n")
    key_file.chmod(0o600)
    key = f"key_file = {json.dumps(str(key_file))}" if from_file else AZURE[1]
    async with judge_server(replying(response(200, azure_reply(Hate=6)))) as server:
        verdict = await decided(written(AZURE[0], key, AZURE[2], f'url = "{server.url}"'), KEY=KEY)
    assert isinstance(verdict, Verdict)
    assert (verdict.allowed, verdict.category) == (False, "hate")
    assert f"ocp-apim-subscription-key: {KEY}" in server.asked[0].head


@pytest.mark.parametrize("key", ["", " ", "canary key", "canary\nkey", "canary\x00", "canaryé"])
async def test_what_is_no_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(JudgeSettingsError, match="variable KEY") as caught:
        await decided(written(*AZURE, 'url = "https://a.example"'), KEY=key)
    assert "canary" not in str(caught.value)


async def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    raw = written(*GUARD, 'url = "https://a.example"', f"key_file = {json.dumps(str(key_file))}")
    with pytest.raises(JudgeSettingsError, match="No such file"):
        await decided(raw)
    key_file.write_text(KEY)
    key_file.chmod(0o644)
    with pytest.raises(JudgeSettingsError, match="chmod 600") as caught:
        await decided(raw)
    assert KEY not in str(caught.value)


async def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.write_text("nothing")
    raw = written(
        *GUARD,
        'url = "https://a.example"',
        f"certificate_file = {json.dumps(str(certificate))}",
    )
    with pytest.raises(JudgeSettingsError, match="certificate cannot be read"):
        await decided(raw)
