"""The gateway's server: real sockets, keys, names, bounds, streams, and the client that everybody uses."""

import asyncio
import http.client
import json
import threading
import time

import openai
import pytest
from chat_models import make_chat
from gateway_fixtures import HANG_S, Policy, body, served, session, tool, user

from espl_bench.gateway.gathering import Gathering
from espl_bench.gateway.server import MAX_BODY, Endpoint, GatewayServer
from espl_bench.gateway.session import MOST_WAITING
from espl_bench.types import Completion, SampleRequest

CHAT = make_chat("qwen25")
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'


@pytest.fixture
def policy() -> Policy:
    return Policy(CHAT, ["it is 3", "yes"])


def ask(server: GatewayServer, path: str, key: str, method: str = "POST", content: bytes | None = None, **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=HANG_S)
    sent = {"Host": f"127.0.0.1:{server.server_port}", "Authorization": f"Bearer {key}", **headers}
    connection.request(method, path, content if content is not None else body([user("a")]) if method == "POST" else None, sent)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text


def chat_path(endpoint: Endpoint) -> str:
    return f"/s/{endpoint.session}/v1/chat/completions"


def client_of(endpoint: Endpoint) -> openai.OpenAI:
    return openai.OpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key, timeout=HANG_S, max_retries=0)


def test_the_client_that_everybody_uses_talks_and_calls_tools():
    policy = Policy(CHAT, [CALL, "it is 3"])
    with served(policy) as server:
        own = session(policy)
        client = client_of(server.open(own))
        assert [model.id for model in client.models.list().data] == ["policy"]
        talk: list = [user("1 + 2 ?")]
        tools: list = [tool("add", a="integer", b="integer")]
        first = client.chat.completions.create(model="policy", messages=talk, tools=tools).choices[0]
        assert first.finish_reason == "tool_calls" and first.message.tool_calls
        talk += [first.message, {"role": "tool", "tool_call_id": first.message.tool_calls[0].id, "content": "3"}]
        second = client.chat.completions.create(model="policy", messages=talk, tools=tools, logprobs=True)
        assert (second.choices[0].message.content, second.choices[0].finish_reason) == ("it is 3", "stop")
        assert second.usage and second.usage.prompt_tokens == len(policy.requests[1].prompt_T)
        logprobs = second.choices[0].logprobs
        assert logprobs and logprobs.content and "".join(each.token for each in logprobs.content) == "it is 3"
        assert [each.logprob for each in logprobs.content] == list(own.turns[1].completion.logprobs_T)
        assert len(own.turns) == 2 and not own.turns[1].starts_segment


def test_a_stream_holds_the_same_answer():
    policy = Policy(CHAT, [CALL])
    with served(policy) as server:
        client = client_of(server.open(session(policy)))
        tools: list = [tool("add", a="integer", b="integer")]
        stream = client.chat.completions.create(
            model="policy", messages=[{"role": "user", "content": "a"}], tools=tools, stream=True, stream_options={"include_usage": True}
        )
        first, last, usage = list(stream)
        assert first.choices[0].delta.tool_calls and first.choices[0].delta.tool_calls[0].function
        assert first.choices[0].delta.tool_calls[0].function.name == "add"
        assert last.choices[0].finish_reason == "tool_calls" and usage.usage and usage.usage.completion_tokens > 0


# Who may ask


@pytest.mark.parametrize("key", ["", "wrong", "wröng"])
def test_without_its_key_a_session_answers_nothing(key: str, policy: Policy):
    with served(policy) as server:
        endpoint, other = server.open(session(policy)), server.open(session(policy))
        for given in (key, other.api_key, server.key):
            for method, path in (
                ("POST", chat_path(endpoint)),
                ("GET", f"/s/{endpoint.session}/trace"),
                ("DELETE", f"/s/{endpoint.session}"),
            ):
                status, text = ask(server, path, given.encode().decode("latin-1"), method)
                assert status == 401 and b"it is 3" not in text
    assert policy.requests == []


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Host": "127.0.0.1:1"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_page_of_another_site_samples_nothing(headers: dict[str, str], policy: Policy):
    with served(policy) as server:
        endpoint = server.open(session(policy))
        assert ask(server, chat_path(endpoint), endpoint.api_key, "POST", body([user("a")]), **headers)[0] == 403
    assert policy.requests == []


def test_a_session_that_was_forgotten_is_there_no_more(policy: Policy):
    with served(policy) as server:
        endpoint = server.open(session(policy))
        server.forget(endpoint.session)
        assert ask(server, chat_path(endpoint), endpoint.api_key)[0] == 401
        assert ask(server, chat_path(endpoint), server.key)[0] == 404


def test_an_open_server_begins_a_session_for_each_name(policy: Policy):
    with served(policy, open_to_all=True) as server:
        for path in ("/v1/chat/completions", "/s/a/v1/chat/completions", "/s/a/v1/chat/completions"):
            assert ask(server, path, server.key)[0] == 200
        traces = [json.loads(ask(server, f"/s/{name}/trace", server.key, "GET")[1]) for name in ("default", "a")]
        assert [len(told["segments"]) for told in traces] == [1, 2] and traces[0]["temperature"] == 1.0
        assert ask(server, "/s/a", server.key, "DELETE")[0] == 200 and len(server) == 1
        assert ask(server, "/s/../v1/chat/completions", "wrong")[0] == 401
        assert ask(server, "/s//v1/chat/completions", server.key)[0] == 404
        assert ask(server, "/v1/embeddings", server.key)[0] == 404


def test_a_harness_that_knows_one_address_names_its_rollouts_by_a_header(policy: Policy):
    named, path = {"X-Session-ID": "f00d"}, "/v1/chat/completions"
    with served(policy, open_to_all=True) as server:
        for headers in (named, named, {}):
            assert ask(server, path, server.key, "POST", None, **headers)[0] == 200
        assert ask(server, f"/s/mine{path}", server.key, "POST", None, **named)[0] == 200, "the path names another"
        traces = {name: json.loads(ask(server, f"/s/{name}/trace", server.key, "GET")[1]) for name in ("f00d", "default", "mine")}
        assert {name: len(told["segments"]) for name, told in traces.items()} == {"f00d": 2, "default": 1, "mine": 1}
        assert ask(server, path, server.key, "POST", None, **{"X-Session-ID": "../etc"})[0] == 404
        assert len(server) == 3


# Bounds


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Content-Length": str(MAX_BODY + 1)}, 413), ({"Content-Length": "-1"}, 411), ({"Content-Length": "9" * 40}, 411)],
)
def test_a_body_is_bounded_before_it_is_read(headers: dict[str, str], status: int, policy: Policy):
    with served(policy) as server:
        endpoint = server.open(session(policy))
        assert ask(server, chat_path(endpoint), endpoint.api_key, "POST", b"", **headers)[0] == status


def test_a_session_answers_one_request_at_a_time_and_so_many_wait():
    class Slow(Policy):
        async def ask(self, request: SampleRequest) -> Completion:
            self.requests.append(request)
            await asyncio.to_thread(let.wait, HANG_S)
            return await Policy(CHAT, ["x"]).ask(request)

    let, policy = threading.Event(), Slow(CHAT, [])
    with served(policy) as server:
        endpoint = server.open(session(policy))
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(ask(server, chat_path(endpoint), endpoint.api_key)[0]))
            for _ in range(MOST_WAITING + 3)
        ]
        for thread in threads:
            thread.start()
        for _ in range(6_000):
            if len(statuses) == 3:
                break
            time.sleep(0.01)
        assert statuses == [429] * 3 and len(policy.requests) == 1
        let.set()
        for thread in threads:
            thread.join(HANG_S)
        assert sorted(statuses)[:10] == [200] * 10, "the session's ten completions"


def test_requests_that_nobody_synchronises_share_calls():
    calls: list[int] = []

    class Client:
        async def sample(self, requests):
            calls.append(len(requests))
            await asyncio.sleep(0)
            if calls[0] == -1:
                raise RuntimeError("out of order")
            return [await Policy(CHAT, ["x"]).ask(request) for request in requests]

    async def together(number: int):
        gathering = Gathering(Client())
        request = SampleRequest((1,), 0, 1, 1.0)
        return await asyncio.gather(*(gathering.ask(request) for _ in range(number)), return_exceptions=True)

    assert [each.text for each in asyncio.run(together(5)) if isinstance(each, Completion)] == ["x"] * 5
    assert calls == [5]
    calls[:] = [-1]
    assert [str(error) for error in asyncio.run(together(2))] == ["out of order"] * 2
