"""Errors as OpenAI's clients expect them: a type, a code, a parameter, one clear sentence.

A message names fields, numbers and what to do; it never quotes a prompt or an answer.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ApiError:
    """One refusal, with the HTTP status it is sent with."""

    status: int
    message: str
    type: str
    code: str | None = None
    param: str | None = None
    retry_after_seconds: int | None = None
    details: tuple[tuple[str, str | int], ...] = ()

    def body(self) -> dict[str, Any]:
        """The JSON object of OpenAI's error shape."""
        error: dict[str, Any] = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error | dict(self.details)}


def invalid_request(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """The request cannot be served as it stands (400)."""
    return ApiError(
        status=400, message=message, type="invalid_request_error", code=code, param=param
    )


def unauthorized(message: str, *, code: str = "invalid_api_key") -> ApiError:
    """The key is missing, unknown, expired or revoked (401)."""
    return ApiError(status=401, message=message, type="authentication_error", code=code)


def too_large(limit: int) -> ApiError:
    """The body is longer than is read (413)."""
    return ApiError(
        status=413,
        message=f"The body is larger than {limit} bytes; send less text in one request.",
        type="invalid_request_error",
        code="request_too_large",
    )


def too_slow(seconds: int) -> ApiError:
    """The body did not arrive in time (408)."""
    return ApiError(
        status=408,
        message=f"The body did not arrive within {seconds} seconds.",
        type="invalid_request_error",
        code="request_timeout",
    )


def unknown_model(name: str) -> ApiError:
    """The model is not in the catalogue with a price (404)."""
    return ApiError(
        status=404,
        message=f"The model '{name[:64]}' is not served here; GET /v1/models lists what is.",
        type="invalid_request_error",
        code="model_not_found",
        param="model",
    )


def context_exceeded(prompt: int, answer: int, context: int) -> ApiError:
    """Prompt and answer do not fit the model (400)."""
    return invalid_request(
        f"The prompt has {prompt} tokens and {answer} are asked for, but the model takes "
        f"{context} in all and this task cannot be split; shorten one of them. (A text that is "
        "written anew is split only where 'max_tokens' is left out or enough for all of it.)",
        param="messages",
        code="context_length_exceeded",
    )


def quote_refused(fault: str, sentence: str) -> ApiError:
    """The quote sent along does not hold (400)."""
    return invalid_request(
        f"{sentence} Nothing was charged.", param="peerllm.quote", code=f"quote_{fault}"
    )


def insufficient_funds(needed: int, available: int) -> ApiError:
    """The price's upper bound is not covered (429, as OpenAI answers an exhausted quota)."""
    return ApiError(
        status=429,
        message=f"This request may cost up to {needed} nano-USD and {available} are available; "
        "lower max_tokens or pay in.",
        type="insufficient_quota",
        code="insufficient_quota",
    )


def too_many_requests(limit: int) -> ApiError:
    """The key has too many requests in flight (429)."""
    return ApiError(
        status=429,
        message=f"This key already has {limit} requests in flight; wait for one to end.",
        type="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after_seconds=1,
    )


def unsafe(stage: str, category: str, standard_version: int) -> ApiError:
    """The prompt or the answer is refused under the safety standard (400)."""
    return ApiError(
        status=400,
        message=f"The {stage} was refused under the network's safety standard "
        f"(category {category}, version {standard_version}). Nothing was charged.",
        type="content_policy_error",
        code="content_filter",
        details=(
            ("stage", stage),
            ("category", category),
            ("standard_version", standard_version),
        ),
    )


def undecided(stage: str, reason: str, standard_version: int) -> ApiError:
    """A text near a bound of the standard, and no stronger judge that decided (503)."""
    return ApiError(
        status=503,
        message=f"The {stage} is near a bound of the network's safety standard (version "
        f"{standard_version}), and the judge that decides on such texts did not ({reason}). "
        "Nothing was charged; try again shortly.",
        type="server_error",
        code="judge_unavailable",
        retry_after_seconds=20,
        details=(
            ("stage", stage),
            ("reason", reason),
            ("standard_version", standard_version),
        ),
    )


def task_refused() -> ApiError:
    """Every host that answered calls the request impossible for this model (400, never retried)."""
    return invalid_request(
        "This model cannot serve the request as it stands: its chat template refuses the order of "
        "the messages' roles, or it lacks an option that was asked for. Nothing was charged.",
        code="task_refused",
    )


def no_capacity() -> ApiError:
    """No host could take the work in time (503)."""
    return ApiError(
        status=503,
        message="No host could answer in time. Nothing was charged; try again shortly.",
        type="server_error",
        code="no_capacity",
        retry_after_seconds=5,
    )


def charter_expired() -> ApiError:
    """The network's promises have run out and no newer ones were published (503)."""
    return ApiError(
        status=503,
        message="The network's charter has expired, so nothing is served or charged until its "
        "stewards publish a newer one.",
        type="server_error",
        code="charter_expired",
        retry_after_seconds=60,
    )


def internal_error(request_id: str) -> ApiError:
    """A bug on our side (500); the id finds the content-free log line."""
    return ApiError(
        status=500,
        message=f"The coordinator failed on request {request_id}. Nothing was charged.",
        type="server_error",
        code="internal_error",
    )


def not_found(message: str) -> ApiError:
    """Nothing is there (404)."""
    return ApiError(status=404, message=message, type="invalid_request_error", code="not_found")


def not_allowed() -> ApiError:
    """The path exists, the method does not (405)."""
    return ApiError(
        status=405,
        message="This method is not allowed here.",
        type="invalid_request_error",
        code="method_not_allowed",
    )
