"""Requests that share calls: each gets its own answer, and what one did wrong is not the others' fault."""

import asyncio
import json
import random
import threading

import pytest

from benchmarks.http_load import load, post
from edgekit.errors import InputError
from edgekit.serve.gain import Gain, measure
from edgekit.serve.lane import Lane
from edgekit.serve.width import Widths

from .services import running


class Recorder:
    """Answers numbers with their squares, as a slow model would; keeps what it was asked."""

    def __init__(self):
        self.calls = []
        self.gate = threading.Event()

    def __call__(self, model, items, options, batch):
        self.gate.wait(60)
        self.calls.append((list(items), dict(options), batch))
        if any(item < 0 for item in items):
            raise InputError("negative")
        return [item * item for item in items]


def ask_all(jobs, **pace):
    """Results of jobs (items, options, key) that all wait while a first one is worked on."""
    recorder = Recorder()
    lane = Lane("test", Widths("model"), queue_s=60, watch=lambda inputs, seconds: None, **pace)

    async def run():
        first = asyncio.create_task(lane.ask(recorder, [0], {}, key="first"))
        while lane.waiting:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(lane.ask(recorder, *job[:2], key=job[2])) for job in jobs]
        while lane.waiting < len(jobs):
            await asyncio.sleep(0.001)
        recorder.gate.set()
        await first
        return await asyncio.gather(*others, return_exceptions=True)

    try:
        return asyncio.run(run()), recorder.calls[1:]
    finally:
        lane.close()


def test_requests_that_wait_share_a_call_and_get_their_own_answers():
    answers, calls = ask_all([([1, 2], {}, "a"), ([3], {}, "a"), ([], {}, "a"), ([4], {}, "a")], max_batch=8)
    assert answers == [[1, 4], [9], [], [16]]
    assert calls == [([1, 2, 3, 4], {}, 8)]


def test_only_requests_with_the_same_options_share_a_call():
    answers, calls = ask_all(
        [([1], {"k": 1}, "a"), ([2], {"k": 2}, "b"), ([3], {"k": 1}, "a"), ([4], {}, None)], max_batch=8
    )
    assert answers == [[1], [4], [9], [16]]
    assert [(items, options) for items, options, _ in calls] == [([1, 3], {"k": 1}), ([2], {"k": 2}), ([4], {})]


def test_a_call_has_no_more_inputs_than_a_batch_and_nobody_is_overtaken_for_good():
    jobs = [([place, place], {}, "a") for place in range(5)]
    answers, calls = ask_all(jobs, max_batch=4)
    assert answers == [[place * place] * 2 for place in range(5)]
    assert [len(items) for items, _, _ in calls] == [4, 4, 2]


def test_without_a_gain_every_request_is_a_call():
    _, calls = ask_all([([1], {}, "a"), ([2], {}, "a")])
    assert [items for items, _, _ in calls] == [[1], [2]]


def test_an_error_is_only_its_own_requests():
    answers, _ = ask_all([([1], {}, "a"), ([-1], {}, "a"), ([2], {}, "a")], max_batch=8)
    assert answers[0] == [1]
    assert isinstance(answers[1], InputError)
    assert answers[2] == [4]


def test_a_request_waits_for_others_no_longer_than_it_is_told_to():
    recorder = Recorder()
    recorder.gate.set()
    lane = Lane("test", Widths("model"), queue_s=60, watch=lambda inputs, seconds: None, max_batch=3, wait_s=30)

    async def three():
        return await asyncio.gather(*(lane.ask(recorder, [number], {}, key="a") for number in (1, 2, 3)))

    try:
        assert asyncio.run(three()) == [[1], [4], [9]]  # a full batch does not wait
        assert recorder.calls == [([1, 2, 3], {}, 3)]
    finally:
        lane.close()


def test_what_is_cancelled_is_not_asked():
    recorder = Recorder()
    lane = Lane("test", Widths("model"), queue_s=60, watch=lambda inputs, seconds: None)

    async def run():
        first = asyncio.create_task(lane.ask(recorder, [1], {}, key=None))
        second = asyncio.create_task(lane.ask(recorder, [2], {}, key=None))
        while lane.waiting != 1:
            await asyncio.sleep(0.001)
        second.cancel()
        await asyncio.sleep(0)
        recorder.gate.set()
        await first
        await lane.run(lambda: None)

    asyncio.run(run())
    lane.close()
    assert [items for items, _, _ in recorder.calls] == [[1]]


@pytest.mark.parametrize(
    ("costs", "batch"),
    [({1: 1.0, 4: 0.9, 16: 0.4}, 16), ({1: 1.0, 4: 0.5, 16: 0.8}, 4), ({1: 1.0, 4: 0.95, 16: 0.93}, 1)],
)
def test_batches_are_used_where_they_measure_faster(costs, batch):
    now = [0.0]

    def ask(inputs, size):
        now[0] += costs[size] * len(inputs)

    found = measure(ask, "input", lambda: now[0] / 1000)
    assert found.batch == batch
    assert isinstance(found, Gain)
    assert found.by_size[16] == pytest.approx(1 / costs[16], abs=0.01)


def test_a_slow_model_is_not_asked_for_minutes_before_it_serves():
    now, asked = [0.0], []

    def ask(inputs, size):
        asked.append(len(inputs))
        now[0] += 1.5 * len(inputs) / size

    assert measure(ask, "input", lambda: now[0]).batch == 4
    assert now[0] < 20
    assert measure(lambda inputs, size: now.__setitem__(0, now[0] + 9.0 * len(inputs)), "x", lambda: now[0]).batch == 1


def test_long_texts_are_asked_alone_where_their_batches_are_no_faster():
    short = Gain(16, {1: 1.0, 4: 1.5, 16: 1.9})
    assert short.also(Gain(1, {1: 1.0, 4: 0.9, 16: 0.8}), 600).alone_from == 300
    assert short.also(Gain(16, {1: 1.0, 4: 1.5, 16: 1.3}), 600).alone_from is None
    assert short.also(Gain(1, {1: 1.0}), 600).alone_from == 300  # too slow to be measured


def test_what_stands_alone_shares_no_call_and_no_batch(bundles):
    with running({"feature-extraction": bundles["feature-extraction"]}, max_batch=16) as service:
        (served,) = service.service.served
        model, asked = served.model, []
        embed = model.embed
        model.embed = lambda texts, *, batch_size: asked.append((len(texts), batch_size)) or embed(texts)
        object.__setattr__(served, "gain", Gain(16, {1: 1.0, 16: 2.0}, alone_from=12))
        assert service.post("embed", {"inputs": ["word1 word2", "word1"]}).status_code == 200
        assert service.post("embed", {"inputs": ["word1 word2 word3", "word1"]}).status_code == 200
        assert asked == [(2, 16), (2, 1)]


def storm(service, connections, count):
    """Many requests on many connections, each with the judge that knows its answer."""
    model, words, chosen = (
        service.model("feature-extraction"),
        [f"word{number}" for number in range(60)],
        random.Random(4),  # noqa: S311 - no secret
    )
    texts = [" ".join(chosen.sample(words, length)) for length in range(1, 13) for _ in range(20)]
    expected = {text: [round(value, 4) for value in model.embed(text).tolist()] for text in texts}

    def judged(text):
        body = json.dumps({"inputs": text}).encode()
        return post(
            "/v1/embed", body
        ), lambda answer: [round(value, 4) for value in json.loads(answer)] == expected[text]

    prepared = {text: judged(text) for text in texts}
    requests = (prepared[chosen.choice(texts)] for _ in range(count))
    result = asyncio.run(load(service.port, requests, connections=connections))
    assert (result.wrong, result.lost, result.statuses) == (0, 0, {200: count})


@pytest.mark.parametrize("max_batch", [1, 16])
def test_no_answer_is_lost_or_mixed_up_on_200_connections(bundles, max_batch):
    with running({"feature-extraction": bundles["feature-extraction"]}, max_batch=max_batch, calls=2) as service:
        storm(service, 200, 1500)


@pytest.mark.parametrize("max_batch", [1, 16])
def test_no_answer_is_mixed_up_where_wide_and_narrow_calls_take_turns(bundles, measured_faster, max_batch):
    chosen = {"feature-extraction": bundles["feature-extraction"]}
    with running(chosen, max_batch=max_batch, threads=2) as service:
        (served,) = service.service.served
        wide, narrow = asked(served.model), asked(served.narrow.model)
        for _ in range(3):  # each begins with nobody there
            assert service.post("embed", {"inputs": "word1"}).status_code == 200
            storm(service, 200, 500)
    assert len(wide) >= 3
    assert len(narrow) > 0
    assert max(wide + narrow) <= max_batch


def asked(model):
    """How many inputs each call of a model has from now on."""
    calls, embed = [], model.embed

    def counted(texts, **how):
        if how:  # the service's calls say how large a batch may be, the test's do not
            calls.append(len(texts))
        return embed(texts, **how)

    model.embed = counted
    return calls


@pytest.mark.long
@pytest.mark.parametrize("threads", [1, 2])
def test_no_answer_is_lost_or_mixed_up_in_50000_requests(bundles, measured_faster, threads):
    with running({"feature-extraction": bundles["feature-extraction"]}, max_batch=16, threads=threads) as service:
        storm(service, 200, 50_000)
