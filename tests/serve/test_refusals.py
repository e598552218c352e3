"""What is refused: one shape for every error, a status that says whose fault it is, and never 500 for an input."""

import asyncio
import contextlib
import json
import socket
import threading
import time

import pytest

from edgekit.serve.limits import Limits

from .bundles import base64_of, image_file, sound_file
from .services import eventually, running

QA = {"question": "who sat", "context": "the cat sat on it"}


def error_of(response, status, kind):
    """The error of an answer, which has the one shape that all have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    (name, error), *more = response.json().items()
    assert (name, more) == ("error", [])
    assert error.keys() == {"kind", "message", "hint", "request_id"}
    assert error["kind"] == kind
    assert error["request_id"] == response.headers["x-request-id"]
    return error


WRONG = [
    ("text-classification", {"inputs": 3}),
    ("text-classification", {"inputs": {"text_pair": "a"}}),
    ("text-classification", {"inputs": {"text": "a", "other": "b"}}),
    ("text-classification", {"inputs": "a", "parameters": {"top_k": "2"}}),
    ("text-classification", {"inputs": "a", "parameters": {"top_k": 0}}),
    ("text-classification", {"inputs": "a", "parameters": {"topk": 1}}),
    ("text-classification", {"inputs": "a", "top_k": 1}),
    ("text-classification", {}),
    ("text-classification", []),
    ("question-answering", {"inputs": QA | {"question": ""}}),
    ("question-answering", {"inputs": QA, "parameters": {"max_seq_len": 9999}}),
    ("question-answering", {"inputs": QA, "parameters": {"max_seq_len": 2}}),
    ("token-classification", {"inputs": "the cat", "parameters": {"stride": 2}}),
    ("token-classification", {"inputs": "a" * 90, "parameters": {"stride": 99, "aggregation_strategy": "simple"}}),
    ("fill-mask", {"inputs": "no mask here"}),
    ("fill-mask", {"inputs": "[MASK]", "parameters": {"top_k": 10**6}}),
    ("zero-shot-classification", {"inputs": "a"}),
    ("zero-shot-classification", {"inputs": "a", "parameters": {"candidate_labels": []}}),
    ("zero-shot-classification", {"inputs": [], "parameters": {"candidate_labels": ["a"]}}),
    (
        "zero-shot-classification",
        {"inputs": "a", "parameters": {"candidate_labels": ["a"], "hypothesis_template": "x"}},
    ),
    (
        "zero-shot-classification",
        {"inputs": "a", "parameters": {"candidate_labels": ["a"], "hypothesis_template": "{:>999999999}"}},
    ),
    ("text-generation", {"inputs": "w3 " * 40}),
    ("text-generation", {"inputs": "w3", "parameters": {"temperature": 0}}),
    ("text-generation", {"inputs": "w3", "parameters": {"num_return_sequences": 2, "do_sample": False}}),
    ("text-generation", {"inputs": [{"role": "user"}]}),
    ("text-generation", {"inputs": ["w3", "w4"], "stream": True}),
    ("text-generation", {"inputs": "w3", "stream": True, "parameters": {"num_return_sequences": 2, "do_sample": True}}),
    ("image-classification", {"inputs": "AAAA"}),
    ("image-classification", {"inputs": "A"}),
    ("image-classification", {"inputs": "not base64!"}),
    ("image-classification", {"inputs": "/etc/passwd"}),
    ("image-classification", {"inputs": base64_of(image_file()[:60])}),
    ("image-feature-extraction", {"inputs": base64_of(sound_file())}),
    ("audio-classification", {"inputs": base64_of(image_file())}),
    ("audio-classification", {"inputs": base64_of(sound_file(samples=10))}),
    ("automatic-speech-recognition", {"inputs": base64_of(sound_file()), "parameters": {"language": "en"}}),
    ("automatic-speech-recognition", {"inputs": base64_of(sound_file()), "parameters": {"chunk_length_s": 0.01}}),
    (
        "automatic-speech-recognition",
        {"inputs": base64_of(sound_file()), "parameters": {"chunk_length_s": 30, "stride_length_s": 14.999}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("task", "body"), WRONG, ids=lambda value: str(value)[:60])
def test_what_the_model_cannot_use_is_the_callers_fault(service, task, body):
    response = service.post(task, body)
    error = error_of(response, 422, response.json()["error"]["kind"])
    assert error["kind"] in ("input", "usage")
    assert error["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"inputs": "\\ud800"}', b"[" * 100_000, b'{"inputs": "a"} x']
)
def test_what_is_no_json_is_400(service, body):
    error_of(service.client.post("/v1/embed", content=body, headers={"content-type": "application/json"}), 400, "input")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_another_type_of_body_is_415(service, kind):
    response = service.client.post("/v1/embed", content=b'{"inputs": "a"}', headers={"content-type": kind})
    error = error_of(response, 415, "usage")
    assert "application/json" in error["message"]


@pytest.mark.parametrize(
    ("files", "data", "status"),
    [
        ([("picture", b"x")], {}, 422),
        ([("file", b"not an image")], {}, 422),
        ([("file", image_file())], {"parameters": "{"}, 400),
        ([("file", image_file())], {"parameters": "[" * 100_000}, 400),
        ([("file", image_file())], {"parameters": '{"topk": 1}'}, 422),
        ([("file", image_file())], {"model": "another"}, 404),
        ([("file", image_file())] * 65, {}, 400),
    ],
)
def test_a_form_that_cannot_be_used_is_refused(service, files, data, status):
    parts = [(name, ("a.png", content)) for name, content in files]
    response = service.client.post("/v1/image-classification", files=parts, data=data)
    assert response.status_code == status, response.text
    assert response.json()["error"]["message"]


def test_a_form_without_a_boundary_or_an_end_is_refused(service):
    for kind, body in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\ncontent-disposition: form-data"),
        ("multipart/form-data; boundary=b", b"no boundary anywhere"),
    ):
        response = service.client.post("/v1/image-classification", content=body, headers={"content-type": kind})
        assert response.status_code in (400, 422), response.text


def test_routes_and_methods_that_are_not_there(service):
    error_of(service.client.get("/v1/nothing"), 404, "usage")
    error_of(service.client.get("/v1/embed"), 405, "usage")
    assert service.client.get("/v1/embed").headers["allow"] == "POST"
    error_of(service.client.post("/health"), 405, "usage")


@pytest.fixture(scope="module")
def strict(bundles):
    limits = Limits(body_bytes=4096, inputs=6, tokens=12, new_tokens=4, in_flight=3, queue_s=30, body_s=0.5)
    names = (
        "feature-extraction",
        "text-generation",
        "zero-shot-classification",
        "text-ranking",
        "image-classification",
    )
    with running({name: bundles[name] for name in names}, limits=limits) as made:
        yield made


def test_a_body_over_the_limit_is_413_whether_or_not_it_says_so(strict):
    body = json.dumps({"inputs": "word1 " * 1000}).encode()
    headers = {"content-type": "application/json"}
    error_of(strict.client.post("/v1/embed", content=body, headers=headers), 413, "limit")
    parts = iter([body[:3000], body[3000:]])  # sent in chunks, without a length
    error_of(strict.client.post("/v1/embed", content=parts, headers=headers), 413, "limit")
    assert strict.post("embed", {"inputs": "word1"}).status_code == 200


def test_a_body_that_does_not_come_is_408(strict):
    with socket.create_connection(("127.0.0.1", strict.port)) as connection:
        connection.sendall(
            b"POST /v1/embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"kind":"limit"' in answer


@pytest.mark.parametrize(
    ("task", "body"),
    [
        ("embed", {"inputs": ["a"] * 7}),
        ("zero-shot-classification", {"inputs": ["a"] * 3, "parameters": {"candidate_labels": ["a", "b", "c"]}}),
        ("zero-shot-classification", {"inputs": "a", "parameters": {"candidate_labels": "a,b,c,d,e,f,g"}}),
        ("text-ranking", {"inputs": {"query": "a", "documents": ["b"] * 7}}),
        ("text-generation", {"inputs": ["w3"] * 4, "parameters": {"num_return_sequences": 2, "do_sample": True}}),
        ("embed", {"inputs": "word1 " * 13}),
        ("embed", {"inputs": "x" * 3000}),
        ("text-generation", {"inputs": "w3", "parameters": {"max_new_tokens": 5}}),
    ],
    ids=str,
)
def test_a_request_over_a_limit_says_which(strict, task, body):
    error = error_of(strict.post(task, body), 422, "limit")
    assert any(character.isdigit() for character in error["message"])


def test_what_is_within_the_limits_is_answered(strict):
    assert strict.post("embed", {"inputs": ["word1 word2"] * 6}).status_code == 200
    assert strict.post("embed", {"inputs": "word1 " * 10}).status_code == 200
    written = strict.post("text-generation", {"inputs": "w3", "parameters": {"return_full_text": False}}).json()
    assert len(written[0]["generated_text"].split()) == 4  # the bundle's own 8, but for the limit


@contextlib.contextmanager
def occupied(lane):
    """A lane whose thread is busy for as long as the block lasts."""
    busy, release = threading.Event(), threading.Event()

    def wait():
        busy.set()
        release.wait(60)

    occupant = threading.Thread(target=lambda: asyncio.run(lane.run(wait)))
    occupant.start()
    assert busy.wait(60)
    try:
        yield
    finally:
        release.set()
        occupant.join(60)


def asking(service, count):
    """Threads that ask, and the answers that they will have got."""
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(service.post("embed", {"inputs": "word1"})))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads, answers


def test_more_requests_at_a_time_than_the_service_takes_are_503_at_once(strict):
    lane = strict.lane("feature-extraction")
    with occupied(lane):
        threads, answers = asking(strict, 3)
        eventually(lambda: lane.waiting == 3)
        response = strict.post("embed", {"inputs": "word1"})
        error_of(response, 503, "overloaded")
        assert response.headers["retry-after"] == "1"
        assert strict.client.get("/health").status_code == 200  # who watches is not kept out
    for thread in threads:
        thread.join(60)
    assert [answer.status_code for answer in answers] == [200] * 3


def test_a_request_whose_turn_does_not_come_is_503(bundles):
    with running({"e": bundles["feature-extraction"]}, limits=Limits(queue_s=0.05)) as service:
        lane = service.lane("e")
        with occupied(lane):
            threads, answers = asking(service, 1)
            eventually(lambda: lane.waiting == 1)
            time.sleep(0.2)
        threads[0].join(60)
        error_of(answers[0], 503, "overloaded")
        assert service.post("embed", {"inputs": "word1"}).status_code == 200


def test_what_nobody_foresaw_is_500_and_tells_nothing(bundles, caplog):
    with running({"e": bundles["feature-extraction"]}) as service:
        service.model("e").embed = None
        response = service.post("embed", {"inputs": "secret"}, headers={"x-request-id": "abc-1"})
        error = error_of(response, 500, "unexpected")
        assert error["request_id"] == "abc-1"
        assert "NoneType" not in response.text
        assert service.client.get("/health").status_code == 200
    (record,) = [record for record in caplog.records if record.getMessage() == "unexpected"]
    assert record.fields["request_id"] == "abc-1"
    assert "TypeError" in str(record.exc_info)
