"""``adapters.errors``: the fields of errors, also in another process."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from adapters import errors
from adapters.errors import (
    AdapterError,
    AllProvidersFailedError,
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigError,
    RateLimitError,
    UpstreamError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_FIELDS: dict[str, Any] = {
    "provider": "home",
    "model": "small",
    "status_code": 503,
    "retryable": True,
    "retry_after_s": 1.5,
    "request_id": "req_1",
}


def _kinds() -> list[type[AdapterError]]:
    """List every class of the tree."""
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AdapterError)]


def _made(kind: type[AdapterError]) -> AdapterError:
    """Make an error of this class with all fields."""
    if issubclass(kind, AllProvidersFailedError):
        return kind([AuthenticationError("The key is wrong.", **_FIELDS), APIConnectionError("It is away.", **_FIELDS)])
    return kind("home is away.", **_FIELDS) if issubclass(kind, APIError) else kind("home is away.")


def _fields(error: BaseException) -> Any:
    """Return everything that an error holds, in a form that can be compared."""
    held = {name: _plain(value) for name, value in vars(error).items()}
    return type(error), str(error), error.args, held


def _plain(value: Any) -> Any:
    return [_fields(item) for item in value] if isinstance(value, tuple) else value


def _pickled(protocol: int) -> Callable[[AdapterError], AdapterError]:
    return lambda error: pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own bytes


def test_drawing_of_the_tree() -> None:
    """The drawing at the top of the module names every class."""
    drawn = {line.rpartition("── ")[2].split()[0] for line in (errors.__doc__ or "").splitlines() if "── " in line}

    assert drawn | {"AdapterError"} == {kind.__name__ for kind in _kinds()}


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in _kinds()])
@pytest.mark.parametrize(
    "moved",
    [
        pytest.param(copy.copy, id="copy"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        *(pytest.param(_pickled(protocol), id=f"pickle {protocol}") for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
    ],
)
def test_copied_and_pickled_error(kind: type[AdapterError], moved: Callable[[AdapterError], AdapterError]) -> None:
    """A copied or pickled error has its class, text, fields and notes."""
    error = _made(kind)
    error.add_note("raised in the worker")

    arrived = moved(error)

    assert arrived is not error
    assert _fields(arrived) == _fields(error)


def test_fields_that_are_not_copied() -> None:
    """The upstream failure is left out like the cause; the reason, a string, is copied."""
    error = _error(RateLimitError)
    error._upstream = UpstreamError("Slow down.", status=429)
    error._reason = "deadline_s"

    copied = _pickled(pickle.HIGHEST_PROTOCOL)(error)

    assert isinstance(copied, RateLimitError)
    assert (copied._upstream, copied._reason) == (None, "deadline_s")


def _error(kind: type[APIError], **fields: Any) -> APIError:
    return kind(f"{kind.__name__}.", **{"provider": "home", "model": "small", **fields})


def test_fields_of_a_failed_group() -> None:
    """Provider, model, status and request id are those of the last error, and the class is an ``APIError``."""
    last = _error(RateLimitError, provider="away", model="large", status_code=429, request_id="req_2", retryable=True)

    error = AllProvidersFailedError([_error(AuthenticationError, status_code=401), last])

    assert isinstance(error, APIError)
    assert (error.provider, error.model, error.status_code, error.request_id) == ("away", "large", 429, "req_2")
    assert str(error) == "No language model could answer. RateLimitError."


@pytest.mark.parametrize(
    ("failed", "retryable", "retry_after_s"),
    [
        pytest.param([{"retryable": True, "retry_after_s": 9.0}, {}], True, 9.0, id="one may recover"),
        pytest.param([{}, {"retryable": True}], True, None, id="no wait"),
        pytest.param(
            [{"retryable": True, "retry_after_s": 9.0}, {"retryable": True, "retry_after_s": 2.0}],
            True,
            2.0,
            id="the first to be back",
        ),
        pytest.param([{"retryable": True, "retry_after_s": 9.0}, {"retry_after_s": 2.0}], True, 9.0, id="never back"),
        pytest.param([{}, {}], False, None, id="none may recover"),
    ],
)
def test_retryable_group(failed: list[dict[str, Any]], retryable: bool, retry_after_s: float | None) -> None:
    """A group is retryable if one of its errors is, after the shortest wait of these."""
    error = AllProvidersFailedError([_error(BadRequestError, **fields) for fields in failed])

    assert (error.retryable, error.retry_after_s) == (retryable, retry_after_s)


def test_group_within_a_group() -> None:
    """The sentence of the inner group is not repeated by the outer one."""
    inner = AllProvidersFailedError([_error(APIConnectionError)])

    assert str(AllProvidersFailedError([_error(BadRequestError), inner])) == str(inner)


def test_config_error_is_a_value_error() -> None:
    """``ConfigError`` is a ``ValueError``."""
    assert isinstance(_made(ConfigError), ValueError)
