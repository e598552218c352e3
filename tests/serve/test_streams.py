"""Generation as server-sent events."""

import json
import threading

import pytest

from edgekit.serve.limits import Limits

from .services import accepts, eventually, running

CHAT = [{"role": "user", "content": "w3 w4"}]


def events(response):
    """(event, data) pairs of a stream, read by the rules of the HTML standard."""
    name, data = "message", []
    for line in response.iter_lines():
        if not line:
            if data:
                yield name, json.loads("\n".join(data))
            name, data = "message", []
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            if field == "event":
                name = value.removeprefix(" ")
            elif field == "data":
                data.append(value.removeprefix(" "))


def stream(service, task, inputs, parameters=None):
    body = {"inputs": inputs, "stream": True} | ({"parameters": parameters} if parameters else {})
    with service.client.stream("POST", f"/v1/{task}", json=body) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        return list(events(response))


@pytest.mark.parametrize(
    ("task", "inputs", "parameters"),
    [
        ("text-generation", "w3 w4", {}),
        ("text-generation", CHAT, {"max_new_tokens": 5}),
        ("text-generation", "w3", {"do_sample": True, "seed": 3}),
        ("text2text-generation", "w3 w4", {"max_new_tokens": 6}),
    ],
)
def test_the_pieces_make_the_answer(service, task, inputs, parameters):
    *pieces, last = stream(service, task, inputs, parameters)
    text = "".join(data["text"] for name, data in pieces)
    assert {name for name, _ in pieces} == {"piece"}
    assert len(pieces) > 2
    assert last == ("answer", [{"generated_text": text}])
    more = {"return_full_text": False} if task == "text-generation" else {}
    whole = service.post(task, {"inputs": inputs, "parameters": parameters | more}).json()
    answer = whole[0]["generated_text"]
    assert text == (answer if isinstance(answer, str) else answer[-1]["content"])


def test_streams_take_turns_with_each_other_and_with_whole_answers(bundles):
    with running({"text-generation": bundles["text-generation"]}) as service:
        expected = {word: stream(service, "text-generation", word) for word in ("w3", "w4", "w5", "w6")}
        found = {}
        threads = [
            threading.Thread(target=lambda word=word: found.update({word: stream(service, "text-generation", word)}))
            for word in expected
        ]
        for thread in threads:
            thread.start()
        assert service.post("text-generation", {"inputs": "w3"}).status_code == 200
        for thread in threads:
            thread.join(60)
        assert found == expected


def test_what_is_wrong_before_the_first_piece_has_a_status(service):
    response = service.post("text-generation", {"inputs": "w3 " * 40, "stream": True})
    assert response.status_code == 422
    assert response.json()["error"]["kind"] == "input"


def test_what_goes_wrong_later_is_an_event(bundles):
    with running({"text-generation": bundles["text-generation"]}) as service:

        def breaks(prompt, max_new_tokens=None):
            yield "one "
            raise RuntimeError("secret")

        service.model("text-generation").stream = breaks
        *pieces, (name, data) = stream(service, "text-generation", "w3")
        assert pieces == [("piece", {"text": "one "})]
        assert (name, data["error"]["kind"]) == ("error", "unexpected")
        assert "secret" not in json.dumps(data)


def test_a_stream_in_flight_comes_to_its_end_when_the_service_stops(bundles):
    with running({"text-generation": bundles["text-generation"]}) as service:
        gate = threading.Event()

        def slow(prompt, max_new_tokens=None):
            yield "one "
            gate.wait(60)
            yield "two"

        service.model("text-generation").stream = slow
        body = {"inputs": "w3", "stream": True}
        with service.client.stream("POST", "/v1/text-generation", json=body) as response:
            found = events(response)
            assert next(found) == ("piece", {"text": "one "})
            service.server.should_exit = True
            eventually(lambda: not accepts(service.port))
            gate.set()
            assert list(found) == [("piece", {"text": "two"}), ("answer", [{"generated_text": "one two"}])]


def test_whoever_leaves_a_stream_leaves_nothing_behind(bundles):
    limits = Limits(in_flight=1)
    with running({"text-generation": bundles["text-generation"]}, limits=limits) as service:
        stopped, asked = threading.Event(), []

        def endless(prompt, max_new_tokens=None):
            try:
                while True:
                    asked.append(prompt)
                    yield "word " * 1000
            finally:
                stopped.set()

        service.model("text-generation").stream = endless
        body = {"inputs": "w3", "stream": True}
        with service.client.stream("POST", "/v1/text-generation", json=body) as response:
            lines = response.iter_lines()
            next(lines)
            assert service.post("text-generation", {"inputs": "w3"}).status_code == 503  # it is in flight
        assert stopped.wait(60)
        eventually(lambda: service.post("text-generation", {"inputs": "w3"}).status_code == 200)
