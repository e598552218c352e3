"""Whether a bundle is opened a second time with one thread, why or why not, and that its answers are the same."""

import dataclasses
import threading

import pytest

from edgekit.runtime import load
from edgekit.serve.gain import side_by_side
from edgekit.serve.narrow import decide
from edgekit.spec.target import Target

from .bundles import sound_file
from .services import running

ONE_GRAPH = (
    "text-classification",
    "token-classification",
    "question-answering",
    "fill-mask",
    "zero-shot-classification",
    "text-ranking",
    "feature-extraction",
    "image-classification",
    "image-feature-extraction",
    "zero-shot-image-classification",
    "audio-classification",
    "automatic-speech-recognition",
)


@pytest.fixture
def model(bundles):
    with load(bundles["feature-extraction"], threads=2) as opened:
        yield opened


@pytest.fixture
def second(model, monkeypatch):
    """The models with other threads that were opened."""
    made, open_second = [], model.with_threads
    monkeypatch.setattr(model, "with_threads", lambda threads: made.append(open_second(threads)) or made[-1])
    return made


def is_closed(model):
    try:
        model.embed("word1")
    except Exception as error:  # noqa: BLE001 - its text is looked at
        return "closed" in str(error)
    return False


def measures(monkeypatch, ratio):
    monkeypatch.setattr("edgekit.serve.gain.side_by_side", lambda wide, narrow, calls: ratio)


def test_a_second_session_is_kept_where_it_measures_faster(model, second, monkeypatch):
    measures(monkeypatch, 1.0)
    decision = decide(model, 4, fixed=False)
    assert decision.document() == {"calls": 2, "gain": 1.0, "why": "measured no slower"}
    assert second == [decision.model]
    assert decision.model.threads == 1
    assert not is_closed(decision.model)
    decision.close()
    assert is_closed(decision.model)
    assert not is_closed(model)


@pytest.mark.parametrize(("ratio", "why"), [(0.99, "measured slower"), (None, "too slow to be measured")])
def test_it_is_closed_again_where_it_does_not(model, second, monkeypatch, ratio, why):
    measures(monkeypatch, ratio)
    decision = decide(model, 4, fixed=False)
    assert decision.document() == {"calls": 0, "gain": ratio, "why": why}
    assert [is_closed(one) for one in second] == [True]
    decision.close()
    assert not is_closed(model)


def test_it_is_closed_again_where_measuring_fails(model, second, monkeypatch):
    def fails(wide, narrow, calls):
        raise RuntimeError("no")

    monkeypatch.setattr("edgekit.serve.gain.side_by_side", fails)
    with pytest.raises(RuntimeError):
        decide(model, 4, fixed=False)
    assert [is_closed(one) for one in second] == [True]


def test_both_ways_are_asked_the_same_with_their_own_threads(model, monkeypatch):
    asked, raw = [], type(model).raw

    def noted(self, inputs, *, batch_size=1):
        asked.append((self.threads, len(inputs), batch_size))
        return raw(self, inputs, batch_size=batch_size)

    monkeypatch.setattr(type(model), "raw", noted)
    decision = decide(model, 4, fixed=False)
    assert decision.gain > 0
    assert set(asked) == {(2, 4, 4), (1, 4, 4)}
    decision.close()


def test_nothing_is_opened_where_it_could_not_help(bundles, model, second, monkeypatch, measured_faster):
    def why(**how):
        decision = decide(model, 1, **({"fixed": False} | how))
        assert (decision.model, decision.calls, decision.gain) == (None, 0, None)
        assert second == []
        return decision.why

    assert "--calls" in why(fixed=True)
    with monkeypatch.context() as patch:
        patch.setattr("edgekit.serve.narrow.available_bytes", lambda: 1000)
        assert "memory" in why()
    with monkeypatch.context() as patch:
        cuda = {
            name: Target(name, "a GPU", "x86_64", (), "CUDAExecutionProvider", 10) for name in model.manifest.targets
        }
        patch.setattr(model, "manifest", dataclasses.replace(model.manifest, targets=cuda))
        assert "CPU" in why()
    for task in ("text-generation", "text2text-generation"):
        with load(bundles[task], threads=2) as writer:
            assert "writes text" in decide(writer, 1, fixed=False).why
    with load(bundles["feature-extraction"], threads=1) as alone:
        assert "one thread" in decide(alone, 1, fixed=False).why


def test_where_the_system_does_not_tell_its_memory_it_is_tried(model, monkeypatch, measured_faster):
    monkeypatch.setattr("edgekit.serve.narrow.available_bytes", lambda: None)
    decision = decide(model, 1, fixed=False)
    assert decision.calls == 2
    decision.close()


@pytest.mark.parametrize(("calls", "ratio", "begins"), [(2, 1.1, 2), (8, 1.1, 8), (8, 2.0, 4), (8, 100.0, 2)])
def test_narrow_calls_begin_where_they_are_enough_to_gain(model, monkeypatch, calls, ratio, begins):
    measures(monkeypatch, ratio)
    decision = dataclasses.replace(decide(model, 1, fixed=False), calls=calls)
    widths = decision.widths(model, 1)
    few = widths.begin(begins - 1, begins - 1)
    assert few.model is model
    widths.end(few)
    assert widths.begin(begins, begins).model is decision.model
    decision.close()


class Clock:
    """Time that calls take, the same whichever thread they run in."""

    def __init__(self):
        self._now = 0.0
        self._lock = threading.Lock()

    def __call__(self):
        return self._now

    def call(self, seconds):
        def take():
            with self._lock:
                self._now += seconds

        return take


@pytest.mark.parametrize(("wide_s", "narrow_s", "ratio"), [(0.01, 0.015, 1.33), (0.2, 0.5, 0.8), (1e-6, 1e-6, 2.0)])
def test_the_ratio_is_of_as_many_calls_on_both_sides(wide_s, narrow_s, ratio):
    clock = Clock()  # two calls side by side take the time of one
    assert side_by_side(clock.call(wide_s), clock.call(narrow_s / 2), 2, clock) == ratio
    assert clock() < 12


def test_what_would_be_measured_for_long_is_not_measured():
    clock = Clock()
    assert side_by_side(clock.call(0.4), clock.call(0.1), 8, clock) is None
    assert clock() < 1


@pytest.mark.parametrize("task", ONE_GRAPH)
def test_answers_are_the_same_bit_for_bit_whichever_way_they_are_asked(bundles, measured_faster, task):
    """Held in the answers' bytes as they leave the service; a batch's content may change last bits, its width not."""
    with running({task: bundles[task]}, threads=2) as service:
        (served,) = service.service.served
        assert served.narrow.calls == 2
        cases = [case.input for case in served.model.golden()] * 5
        for batch in (1, 3, 16):
            wide, narrow = (one.raw(cases, batch_size=batch) for one in (served.model, served.narrow.model))
            assert [{name: value.tobytes() for name, value in raw.items()} for raw in wide] == [
                {name: value.tobytes() for name, value in raw.items()} for raw in narrow
            ]


def test_what_a_service_decided_is_among_what_it_says_of_its_models(bundles, measured_faster):
    names = ("feature-extraction", "text-generation", "automatic-speech-recognition")
    with running({name: bundles[name] for name in names}, threads=2) as service:
        models = {one["name"]: one for one in service.client.get("/v1/models").json()["models"]}
        sound = {"file": ("a.wav", sound_file())}
        assert service.client.post("/v1/automatic-speech-recognition", files=sound).status_code == 200
    assert models["feature-extraction"]["threads"] == 2
    assert models["feature-extraction"]["narrow"] == {"calls": 2, "gain": 2.0, "why": "measured no slower"}
    assert models["automatic-speech-recognition"]["narrow"]["calls"] == 2
    assert models["text-generation"]["narrow"]["calls"] == 0
    assert "writes text" in models["text-generation"]["narrow"]["why"]
