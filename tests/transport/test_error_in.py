"""``transport.payloads.error_in``: an error is told from an answer, wherever a server puts it."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.transport.body import error_in

_FAULT = {"message": "No.", "code": 500}
_MINIMAX = {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}


def choice(**fields: Any) -> dict[str, Any]:
    """A payload with one choice."""
    return {"choices": [{"index": 0, **fields}]}


@pytest.mark.parametrize(
    ("payload", "event", "error"),
    [
        pytest.param({"error": _FAULT}, "", _FAULT, id="object"),
        pytest.param({"error": "No."}, "", {"error": "No."}, id="string, with what stands beside it"),
        pytest.param({"error": [_FAULT]}, "", [_FAULT], id="list"),
        pytest.param([{"error": _FAULT}], "", _FAULT, id="Google: in a list"),
        pytest.param({"choices": [], "error": _FAULT}, "", _FAULT, id="beside choices"),
        pytest.param(choice(error=_FAULT), "", _FAULT, id="in the choice"),
        pytest.param({"choices": [], "x_groq": {"error": _FAULT}}, "", _FAULT, id="Groq"),
        pytest.param({"choices": [], "x_groq": "x"}, "", None, id="no object of Groq"),
        pytest.param(_MINIMAX, "", _MINIMAX["base_resp"], id="MiniMax"),
        pytest.param({**choice(), "base_resp": {"status_code": 0}}, "", None, id="MiniMax: a success"),
        pytest.param({"choices": [], "error": None}, "", None, id="null"),
        pytest.param({"choices": [], "error": {}}, "", None, id="empty"),
        pytest.param({"object": "error", "message": "No."}, "", {"object": "error", "message": "No."}, id="vLLM: flat"),
        pytest.param({"type": "error"}, "", {"type": "error"}, id="type"),
        pytest.param(_FAULT, "error", _FAULT, id="event"),
        pytest.param("No.", "error", "No.", id="event with a string"),
        pytest.param("No.", "", None, id="a string alone"),
        pytest.param({"detail": "No."}, "", {"detail": "No."}, id="FastAPI"),
        pytest.param(_FAULT, "", _FAULT, id="message alone"),
        pytest.param({"message": "Done.", "usage": {}}, "", None, id="a message beside usage"),
        pytest.param({"message": "Hi", "choices": []}, "error", None, id="an event named error that holds choices"),
        pytest.param({"usage": {"prompt_tokens": 1}}, "", None, id="usage alone"),
        pytest.param({}, "", None, id="nothing"),
    ],
)
def test_error(payload: Any, event: str, error: Any) -> None:
    """An error is found wherever servers put it; null and empty ones are none."""
    assert error_in(payload, event) == error
