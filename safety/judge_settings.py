"""What an operator writes down about stronger judges, a TOML file, and the judges made from it."""

import os
import ssl
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from peerllm.safety.errors import SafetyError
from peerllm.safety.guard_judge import GuardJudge, LlamaServer
from peerllm.safety.guard_prompts import GUARD_FORMATS, Calibration, GuardFormatName
from peerllm.safety.judge_cascade import CascadeRule, JudgeCascade, WhenDown
from peerllm.safety.judge_http import JudgeEndpoint, Secret
from peerllm.safety.moderation_services import AzureJudge, OpenAiJudge
from peerllm.safety.stronger_judges import StrongerJudge

MAXIMUM_SETTINGS_BYTES: Final = 64 * 1024
MAXIMUM_KEY_BYTES: Final = 4_096

_Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=60)]
_File = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00]+\Z", max_length=4_096)]
_Url = Annotated[str, msgspec.Meta(max_length=500)]


class JudgeSettingsError(SafetyError):
    """What an operator wrote down about stronger judges cannot be used as it stands."""


class _Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Common to all judges: where it is, and where its key is kept."""

    url: _Url
    key_file: _File | None = None
    key_environment: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\Z")] | None = (
        None
    )


class GuardSettings(_Settings, frozen=True, kw_only=True, tag_field="kind", tag="guard"):
    """A guard model at llama.cpp's server; `certificate_file` for a certificate of one's own."""

    format: GuardFormatName
    certificate_file: _File | None = None
    calibration_slope: Annotated[float, msgspec.Meta(gt=0, le=100)] = 1.0
    calibration_offset: Annotated[float, msgspec.Meta(ge=-100, le=100)] = 0.0


class AzureSettings(_Settings, frozen=True, kw_only=True, tag_field="kind", tag="azure"):
    """Azure AI Content Safety."""

    texts_leave_the_house: bool = False


class OpenAiSettings(_Settings, frozen=True, kw_only=True, tag_field="kind", tag="openai"):
    """OpenAI's moderation endpoint."""

    url: _Url = "https://api.openai.com"
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "omni-moderation-latest"
    texts_leave_the_house: bool = False


class JudgeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    judges: Annotated[
        list[GuardSettings | AzureSettings | OpenAiSettings],
        msgspec.Meta(min_length=1, max_length=8),
    ]
    when_down: WhenDown = "refuse"
    deadline_seconds: _Seconds = 8.0
    attempt_seconds: _Seconds = 3.0
    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3


def read_judge_settings(raw: bytes) -> JudgeSettings:
    """Parse and check; raises `JudgeSettingsError` with a sentence that says what to mend."""
    if len(raw) > MAXIMUM_SETTINGS_BYTES:
        raise JudgeSettingsError(
            f"the judges' settings have {len(raw)} bytes, at most {MAXIMUM_SETTINGS_BYTES} are read"
        )
    try:
        settings = msgspec.toml.decode(raw, type=JudgeSettings)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # A parser's message names the place, and quotes no more than an unknown name.
        raise JudgeSettingsError(f"the judges' settings: {error}") from None
    for number, one in enumerate(settings.judges, 1):
        fault = _fault(one)
        if fault is not None:
            raise JudgeSettingsError(f"the judges' settings, judge {number}: {fault}")
    if settings.attempt_seconds > settings.deadline_seconds:
        raise JudgeSettingsError(
            f"the judges' settings: attempt_seconds is {settings.attempt_seconds:g}, more than"
            f" deadline_seconds, which is {settings.deadline_seconds:g}"
        )
    return settings


def _fault(one: GuardSettings | AzureSettings | OpenAiSettings) -> str | None:
    if one.key_file is not None and one.key_environment is not None:
        return "give key_file or key_environment, not both"
    if isinstance(one, GuardSettings):
        return _address_fault(one.url, house=True)
    if one.key_file is None and one.key_environment is None:
        return "it needs a key; give key_file or key_environment"
    if not one.texts_leave_the_house:
        return (
            "uncertain texts would be sent to a third party; if you may and want to do that, say"
            " texts_leave_the_house = true"
        )
    return _address_fault(one.url, house=False)


def _address_fault(url: str, *, house: bool) -> str | None:
    """Why text must not be sent there: in clear only over the loopback or, in the house, a LAN."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        # The name is looked up in this form, which an empty or overlong label has not.
        host.encode("idna")
        _ = httpx.URL(url).host
        plain_parts = not (parts.username or parts.password or parts.query or parts.fragment)
    except (ValueError, httpx.InvalidURL):
        host, plain_parts = "", False
    if not host or not plain_parts or parts.scheme not in ("https", "http"):
        return "url must look like https://HOST or https://HOST:PORT"
    if parts.scheme == "https" or _may_be_plain(host, house=house):
        return None
    return "url must begin with https://; http:// is for this machine" + (
        " and for private addresses, given as numbers" if house else ""
    )


def _may_be_plain(host: str, *, house: bool) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or (house and address.is_private)


@asynccontextmanager
async def open_cascade(
    settings: JudgeSettings,
    *,
    environment: Mapping[str, str],
    jitter: Iterator[float],
    told: Callable[[str, str], None],
) -> AsyncIterator[JudgeCascade]:
    """The judges with their connections, as long as the block lasts.

    Raises `JudgeSettingsError` when a key or certificate cannot be read.
    """
    async with AsyncExitStack() as stack:
        judges = [
            _judge(one, await stack.enter_async_context(_endpoint(one, environment)))
            for one in settings.judges
        ]
        rule = CascadeRule(
            when_down=settings.when_down,
            deadline_seconds=settings.deadline_seconds,
            attempt_seconds=settings.attempt_seconds,
            attempts=settings.attempts,
        )
        yield JudgeCascade(judges, rule, jitter=jitter, told=told)


def _endpoint(
    one: GuardSettings | AzureSettings | OpenAiSettings, environment: Mapping[str, str]
) -> JudgeEndpoint:
    key = _key(one, environment)
    if isinstance(one, AzureSettings):
        headers = {"ocp-apim-subscription-key": key} if key else {}
    else:
        headers = {"authorization": Secret(f"Bearer {key.value}")} if key else {}
    certificates = None
    if isinstance(one, GuardSettings) and one.certificate_file is not None:
        try:
            certificates = ssl.create_default_context(cafile=one.certificate_file)
        except (OSError, ssl.SSLError) as error:
            raise JudgeSettingsError(
                f"{one.certificate_file}: this certificate cannot be read"
            ) from error
    return JudgeEndpoint(one.url, secret_headers=headers, certificates=certificates)


def _judge(
    one: GuardSettings | AzureSettings | OpenAiSettings, endpoint: JudgeEndpoint
) -> StrongerJudge:
    match one:
        case GuardSettings():
            calibration = Calibration(one.calibration_slope, one.calibration_offset)
            return GuardJudge(LlamaServer(endpoint), GUARD_FORMATS[one.format], calibration)
        case AzureSettings():
            return AzureJudge(endpoint)
        case OpenAiSettings():
            return OpenAiJudge(endpoint, one.model)


def _key(
    one: GuardSettings | AzureSettings | OpenAiSettings, environment: Mapping[str, str]
) -> Secret | None:
    if one.key_file is not None:
        where, raw = one.key_file, _private(Path(one.key_file))
    elif one.key_environment is not None:
        where, raw = f"the variable {one.key_environment}", environment.get(one.key_environment, "")
    else:
        return None
    key = raw.strip()
    # A header cannot carry anything else, and a library would quote it in its complaint.
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise JudgeSettingsError(f"{where}: here should be a key, one line of ASCII, and is none")
    return Secret(key)


def _private(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            raw = file.read(MAXIMUM_KEY_BYTES)
    except OSError as error:
        raise JudgeSettingsError(f"{path}: {error.strerror}") from None
    if os.name == "posix" and mode & 0o077:
        raise JudgeSettingsError(f"{path}: others can read this key; run `chmod 600 {path}`")
    return raw.decode("ascii", "replace")
