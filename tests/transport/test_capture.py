"""``transport.capture``: one request, its result, and the end of LiteLLM's call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from adapters.testing.answers import http, reply
from adapters.transport.capture import CapturedExchange, FakeOpenAIClient, StopLiteLLM
from adapters.transport.endpoint import Endpoint
from adapters.transport.http import HTTPSession, TransportError

if TYPE_CHECKING:
    from adapters.transport.http import Response
    from tests.transport.servers import Counting

KEY = "wire-KEY-0123456789"


class Sender:
    """Notes what is sent, and brings nothing or fails."""

    def __init__(self, trouble: TransportError | None = None) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.trouble = trouble

    async def send(self, *request: Any) -> Response | None:
        """Note it."""
        self.sent.append(request)
        if self.trouble is not None:
            raise self.trouble
        return None


def endpoint(base_url: str = "http://localhost:1/v1") -> Endpoint:
    """The target of the request."""
    return Endpoint("shop", "m", base_url=base_url, api_key=KEY)


async def test_the_head_of_the_answer_is_kept(server: Counting) -> None:
    """The exchange has the response with its body still to come; for LiteLLM, the request is over."""
    base_url = server.add("case", (http(b'{"a": 1}', "503 Service Unavailable", x_id="7"),))
    client = await HTTPSession.open(base_url, 5)
    exchange = CapturedExchange(client.send, endpoint())

    with pytest.raises(StopLiteLLM):
        await exchange.post(f"{base_url}/chat/completions", {"X-Team": "voice"}, b'{"n": 1}')

    assert exchange.response is not None
    assert (exchange.response.status, exchange.response.headers["x-id"]) == (503, "7")
    assert await exchange.response.read() == b'{"a": 1}'
    assert exchange.error is None
    assert server.seen["case"].bodies == [{"n": 1}]
    exchange.close()
    await client.aclose()


async def test_closing(server: Counting) -> None:
    """Closing an exchange closes what has come, and nothing if nothing has."""
    base_url = server.add("case", reply({}))
    client = await HTTPSession.open(base_url, 5)
    exchange = CapturedExchange(client.send, endpoint())
    exchange.close()
    with pytest.raises(StopLiteLLM):
        await exchange.post(base_url, {}, b"{}")

    exchange.close()

    assert exchange.response is not None
    await client.aclose()


async def test_a_try_costs_one_request() -> None:
    """A second request within the same try is not sent."""
    sender = Sender()
    exchange = CapturedExchange(sender.send, endpoint())

    for _ in range(2):
        with pytest.raises(StopLiteLLM):
            await exchange.post("http://x", {}, b"{}")

    assert len(sender.sent) == 1


async def test_an_abandoned_try_costs_none() -> None:
    """A request that is given up before it has left is never sent; afterwards there is one to be cancelled."""
    sender = Sender()
    exchange, sent = CapturedExchange(sender.send, endpoint()), CapturedExchange(sender.send, endpoint())
    with pytest.raises(StopLiteLLM):
        await sent.post("http://x", {}, b"{}")

    assert exchange.abandon()
    with pytest.raises(StopLiteLLM):
        await exchange.post("http://x", {}, b"{}")

    assert len(sender.sent) == 1
    assert exchange.abandon()
    assert not sent.abandon()


async def test_what_kept_the_answer_from_coming() -> None:
    """The trouble is kept, and the sender is told no more than that it is over: of a failure LiteLLM would retry."""
    exchange = CapturedExchange(Sender(trouble := TransportError("gone")).send, endpoint())

    with pytest.raises(StopLiteLLM):
        await exchange.post("http://x", {}, b"{}")

    assert exchange.error is trouble
    assert exchange.response is None


def test_the_end_is_no_failure() -> None:
    """LiteLLM catches every ``Exception`` for a failure of the server."""
    assert not issubclass(StopLiteLLM, Exception)


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "plain"])
async def test_what_the_client_of_the_sdk_sends(raw: bool) -> None:
    """The keywords of the SDK become the request as the SDK would send it: fields, further fields, headers, key."""
    sender = Sender()
    client = FakeOpenAIClient(CapturedExchange(sender.send, endpoint()), endpoint())
    completions = client.chat.completions
    create = completions.with_raw_response.create if raw else completions.create

    with pytest.raises(StopLiteLLM):
        await create(
            model="m", messages=[{"role": "user"}], timeout=7, extra_headers={"X-Team": "v"}, extra_body={"n": "Käse"}
        )

    [(method, url, headers, content)] = sender.sent
    assert (method, url) == ("POST", "http://localhost:1/v1/chat/completions")
    assert headers == {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "X-Team": "v"}
    assert json.loads(content) == {"model": "m", "messages": [{"role": "user"}], "n": "Käse"}
    assert "Käse".encode() in content
    assert b'"m","messages"' in content
    assert client.api_key == KEY


async def test_a_request_without_anything_further() -> None:
    """Neither further headers nor further fields need be given, and None means none."""
    sender = Sender()
    client = FakeOpenAIClient(CapturedExchange(sender.send, endpoint()), endpoint())

    with pytest.raises(StopLiteLLM):
        await client.chat.completions.create(model="m", extra_headers=None, extra_body=None)

    assert json.loads(sender.sent[0][3]) == {"model": "m"}


async def test_the_later_way_to_the_client_of_the_sdk() -> None:
    """Later versions of LiteLLM call ``post`` with the options of the SDK, of which one header is for the SDK alone."""
    sender = Sender()
    client = FakeOpenAIClient(CapturedExchange(sender.send, endpoint()), endpoint())
    options = {"headers": {"X-Team": "v", "X-Stainless-Raw-Response": "true"}, "extra_json": {"n": 1}, "timeout": 7}

    with pytest.raises(StopLiteLLM):
        await client.post("/chat/completions", body={"model": "m"}, options=options, cast_to=dict, stream=False)
    with pytest.raises(StopLiteLLM):
        await FakeOpenAIClient(CapturedExchange(sender.send, endpoint()), endpoint()).post(
            "/x", body={"model": "m"}, options={}
        )

    assert [(url, json.loads(content)) for _, url, _, content in sender.sent] == [
        ("http://localhost:1/v1/chat/completions", {"model": "m", "n": 1}),
        ("http://localhost:1/v1/x", {"model": "m"}),
    ]
    assert sender.sent[0][2] == {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "X-Team": "v"}
