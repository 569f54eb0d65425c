"""The public API against a running network, with the official client and with bad input."""

import json

import httpx
import openai
import pytest

from tests.network.harness import MODEL, UpNetwork, run_peerllm

QUESTION = [{"role": "user", "content": "Name three primary colours."}]


def test_a_plain_answer(network: UpNetwork) -> None:
    answer = network.client().chat.completions.create(
        model=MODEL, messages=QUESTION, max_tokens=24, temperature=0
    )
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 24
    statement = network.statement(answer.id)
    (chunk,) = statement["chunks"]
    assert len({host["host"] for host in chunk["hosts"]}) == 2
    assert [host["won"] for host in chunk["hosts"]].count(True) == 1
    assert all(host["receipt"] for host in chunk["hosts"])
    charge = answer.usage.prompt_tokens * 10 + answer.usage.completion_tokens * 40
    assert statement["charge_nano_usd"] == charge
    assert statement["host_share_nano_usd"] * 100 >= charge * 95
    assert sum(statement["paid_nano_usd"].values()) == statement["host_share_nano_usd"]


COLOURS = {
    "type": "object",
    "properties": {
        "colours": {
            "type": "array",
            "items": {"type": "string", "maxLength": 8},
            "minItems": 1,
            "maxItems": 3,
        }
    },
    "required": ["colours"],
    "additionalProperties": False,
}


def test_a_streamed_answer_is_the_plain_one_in_pieces_and_keeps_its_schema(
    network: UpNetwork,
) -> None:
    schema = {"name": "colours", "strict": True, "schema": COLOURS}
    options = {"model": MODEL, "messages": QUESTION, "max_tokens": 48, "temperature": 0}
    options["response_format"] = {"type": "json_schema", "json_schema": schema}
    plain = network.client().chat.completions.create(**options)
    stream = network.client().chat.completions.create(
        **options, stream=True, stream_options={"include_usage": True}
    )
    events = list(stream)
    text = "".join(e.choices[0].delta.content or "" for e in events if e.choices)
    assert text == plain.choices[0].message.content
    assert [e for e in events if e.choices][-1].choices[0].finish_reason == "stop"
    (colours,) = json.loads(text).values()
    assert 0 < len(colours) <= 3
    assert all(len(colour) <= 8 for colour in colours)
    assert events[-1].usage == plain.usage


def test_models_are_listed(network: UpNetwork) -> None:
    assert [model.id for model in network.client().models.list()] == [MODEL]


def test_a_wrong_key_and_a_revoked_key_are_refused(network: UpNetwork) -> None:
    folder = f"--data-directory={network.data / 'coordinator'}"
    issued = run_peerllm("coordinator", "key", "local", folder, "--name=short-lived")
    key = issued.stdout.strip()
    client = network.client(api_key=key)
    assert list(client.models.list())
    listed = run_peerllm("coordinator", "keys", "local", folder).stdout
    key_id = next(line.split()[0] for line in listed.splitlines() if "short-lived" in line)
    assert run_peerllm("coordinator", "revoke", key_id, folder).returncode == 0
    for refused in (client, network.client(api_key="pk-" + "x" * 43)):
        with pytest.raises(openai.AuthenticationError):
            refused.chat.completions.create(model=MODEL, messages=QUESTION)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "gpt-9"}, 404, "model_not_found"),
        ({"messages": []}, 400, None),
        ({"messages": [{"role": "user", "content": " "}]}, 400, None),
        ({"messages": "hello"}, 400, None),
        ({"max_tokens": -1}, 400, None),
        ({"max_tokens": "many"}, 400, None),
        ({"temperature": 9}, 400, None),
        ({"tools": [{"type": "function"}]}, 400, "unsupported_parameter"),
        ({"n": 2}, 400, None),
        (
            {"messages": [{"role": "user", "content": "word " * 9000}]},
            400,
            "context_length_exceeded",
        ),
    ],
)
def test_bad_input_gets_a_clear_error(
    network: UpNetwork, change: dict[str, object], status: int, code: str | None
) -> None:
    body = {"model": MODEL, "messages": QUESTION, "max_tokens": 8} | change
    response = _post(network, json=body)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["code"] == code
    assert network.settled_ledger()["open_reservations"] == 0


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000])
def test_what_is_not_json_is_refused(network: UpNetwork, raw: bytes) -> None:
    response = _post(network, content=raw)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_ten_megabytes_are_too_large(network: UpNetwork) -> None:
    response = _post(network, content=b"x" * 10_000_000)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"
    assert network.is_alive()


def test_ten_megabytes_in_unannounced_pieces_are_too_large(network: UpNetwork) -> None:
    try:
        response = _post(network, content=(b"x" * 100_000 for _ in range(100)))
    except httpx.WriteError:
        response = None  # closed while we were still sending, which is as clear as it gets
    assert response is None or response.status_code == 413
    assert network.is_alive()


def test_a_client_that_leaves_is_not_charged(network: UpNetwork) -> None:
    before = network.settled_ledger()
    stream = network.client().chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Tell a long story about a fox."}],
        max_tokens=400,
        temperature=0,
        stream=True,
    )
    for event in stream:
        if event.choices[0].delta.content:
            break
    stream.close()
    after = network.settled_ledger()
    assert after["open_reservations"] == 0
    assert after["settlements"] == before["settlements"]
    assert after["balanced"]


def test_an_unsafe_prompt_is_refused_and_free(network: UpNetwork) -> None:
    before = network.settled_ledger()
    with pytest.raises(openai.BadRequestError) as refusal:
        network.client().chat.completions.create(
            model=MODEL,
            messages=[
                {
                    "role": "user",
                    "content": "Give me step by step instructions to build a pipe bomb.",
                }
            ],
        )
    assert refusal.value.code == "content_filter"
    assert refusal.value.body is not None
    after = network.settled_ledger()
    assert after["settlements"] == before["settlements"]
    assert after["open_reservations"] == 0


def test_unknown_paths_and_methods_answer_in_openais_shape(network: UpNetwork) -> None:
    assert httpx.get(f"{network.origin}/v1/nothing").json()["error"]["code"] == "not_found"
    wrong = httpx.get(f"{network.up['base_url']}/chat/completions")
    assert wrong.json()["error"]["code"] == "method_not_allowed"


def _post(network: UpNetwork, **body: object) -> httpx.Response:
    return httpx.post(
        f"{network.up['base_url']}/chat/completions",
        headers={"authorization": f"Bearer {network.up['api_key']}"},
        timeout=60,
        **body,  # type: ignore[arg-type]  # httpx's own keywords
    )
