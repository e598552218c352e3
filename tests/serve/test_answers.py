"""Every route answers what calling the runtime answers, in its shape."""

import json

import numpy as np
import pytest

from edgekit.runtime import pipeline

from .bundles import base64_of, image_file, sound_file
from .services import running

QA = {"question": "who sat", "context": "the cat sat on it"}
CHAT = [{"role": "user", "content": "w3 w4"}]
ASKED = [
    ("text-classification", "the cat", {}),
    ("text-classification", "the cat", {"top_k": 2}),
    ("text-classification", "the cat", {"top_k": None}),
    ("text-classification", {"text": "the cat", "text_pair": "a mat"}, {}),
    ("text-classification", ["the cat", {"text": "who", "text_pair": "sat"}], {}),
    ("text-classification", ["the cat", "sat"], {"top_k": 3, "function_to_apply": "sigmoid"}),
    ("text-classification", [], {}),
    ("token-classification", "the cat sat", {}),
    ("token-classification", ["the cat", "who sat on it"], {"aggregation_strategy": "simple", "ignore_labels": []}),
    ("question-answering", QA, {}),
    ("question-answering", [QA], {}),
    ("question-answering", [QA, QA], {"top_k": 2}),
    ("fill-mask", "the [MASK] sat", {}),
    ("fill-mask", ["the [MASK] sat"], {"top_k": 2}),
    ("fill-mask", ["the [MASK] sat", "[MASK] and [MASK]"], {"targets": ["cat", "mat"], "top_k": 2}),
    ("zero-shot-classification", "the cat", {"candidate_labels": ["cat", "mat"]}),
    ("zero-shot-classification", ["the cat", "sat"], {"candidate_labels": "cat, mat", "multi_label": True}),
    ("text-ranking", {"query": "who sat", "documents": ["the cat", "a mat"]}, {}),
    ("text-ranking", [{"query": "who", "documents": ["the cat"]}], {"return_documents": True, "top_k": 1}),
    ("feature-extraction", "word1 word2", {}),
    ("feature-extraction", ["word1 word2", "word3"], {}),
    ("text-generation", "w3 w4", {}),
    ("text-generation", ["w3 w4", "w5"], {"max_new_tokens": 3, "return_full_text": False}),
    ("text-generation", "w3", {"do_sample": True, "seed": 7, "num_return_sequences": 2}),
    ("text-generation", CHAT, {}),
    ("text-generation", [CHAT, "w3"], {"stop_strings": ["w9"]}),
    ("text2text-generation", "w3 w4", {}),
    ("text2text-generation", ["w3 w4", "w5"], {"max_new_tokens": 3}),
    ("text2text-generation", "w3", {"do_sample": True, "seed": 1, "num_return_sequences": 2}),
]  # fmt: skip
MEDIA = [
    ("image-classification", {}),
    ("image-classification", {"top_k": 2, "function_to_apply": "sigmoid"}),
    ("image-feature-extraction", {}),
    ("image-feature-extraction", {"pool": True}),
    ("zero-shot-image-classification", {"candidate_labels": ["word1", "word2"]}),
    ("audio-classification", {}),
    ("audio-classification", {"top_k": 1}),
    ("automatic-speech-recognition", {}),
    ("automatic-speech-recognition", {"return_timestamps": "word", "chunk_length_s": 1.0}),
]


def same(found, expected):
    """Equal but for the last bits of numbers, which depend on the batch."""
    if isinstance(expected, float):
        return found == pytest.approx(expected, rel=1e-5, abs=1e-6)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[name], expected[name]) for name in expected)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(same(*pair) for pair in zip(found, expected, strict=True))
    return type(found) is type(expected) and found == expected


@pytest.mark.parametrize(("task", "inputs", "options"), ASKED, ids=lambda value: str(value)[:40])
def test_a_route_answers_what_the_runtime_answers(service, task, inputs, options):
    response = service.post(task, {"inputs": inputs} | ({"parameters": options} if options else {}))
    assert response.status_code == 200, response.text
    assert same(response.json(), json.loads(json.dumps(service.model(task)(inputs, **options))))


@pytest.mark.parametrize(("task", "options"), MEDIA, ids=str)
def test_files_come_as_base64_or_in_a_form(service, task, options):
    maker = sound_file if task.startswith("au") else image_file
    files = [maker(seed=1), maker(seed=2)]
    model = service.model(task)
    body = {"parameters": options} if options else {}
    form = {"parameters": json.dumps(options)} if options else {}
    one = json.loads(json.dumps(model(files[0], **options)))
    both = json.loads(json.dumps(model(files, **options)))
    encoded = [base64_of(file) for file in files]
    assert same(service.post(task, body | {"inputs": encoded[0]}).json(), one)
    assert same(service.post(task, body | {"inputs": encoded}).json(), both)
    parts = [("file", (f"{place}.bin", file)) for place, file in enumerate(files)]
    for sent, expected in ((parts[:1], one), (parts, both)):
        response = service.client.post(f"/v1/{task}", files=sent, data=form)
        assert response.status_code == 200, response.text
        assert same(response.json(), expected)


def test_vectors_are_those_of_embed(service):
    model = service.model("feature-extraction")
    texts = ["word1 word2", "word3", "", "word4 word5"]
    expected = model.embed(texts)
    np.testing.assert_allclose(service.post("embed", {"inputs": texts}).json(), expected, rtol=1e-5)
    np.testing.assert_allclose(service.post("embed", {"inputs": texts[0]}).json(), expected[0], rtol=1e-5)
    image = image_file()
    vectors = service.model("image-feature-extraction").embed(image)
    np.testing.assert_allclose(service.post("embed-image", {"inputs": base64_of(image)}).json(), vectors, rtol=1e-5)


def test_a_bundle_can_be_served_for_another_task(bundles):
    chosen = {"close": bundles["feature-extraction"], "short": bundles["text2text-generation"]}
    with running(chosen, tasks=[("close", "zero-shot-classification"), ("short", "summarization")]) as service:
        labels = ["word1", "word2"]
        found = service.post(
            "zero-shot-classification", {"inputs": "word1", "parameters": {"candidate_labels": labels}}
        )
        with pipeline("zero-shot-classification", chosen["close"]) as model:
            assert same(found.json(), model("word1", labels))
        with pipeline("summarization", chosen["short"]) as model:
            assert service.post("summarization", {"inputs": "w3 w4"}).json() == model("w3 w4")
        assert service.post("text2text-generation", {"inputs": "w3"}).status_code == 404


def test_bundles_are_told_apart_by_name(bundles):
    chosen = {"one": bundles["feature-extraction"], "other": bundles["feature-extraction"]}
    with running(chosen) as service:
        unnamed = service.post("embed", {"inputs": "word1"})
        assert unnamed.status_code == 422
        assert "one, other" in unnamed.json()["error"]["hint"]
        missing = service.post("embed", {"inputs": "word1", "model": "onee"})
        assert (missing.status_code, missing.json()["error"]["hint"]) == (404, "did you mean 'one'?")
        answers = [service.post("embed", {"inputs": "word1", "model": name}).json() for name in chosen]
        assert answers[0] == answers[1]
        models = service.client.get("/v1/models").json()["models"]
        assert [(model["name"], model["task"]) for model in models] == [(name, "feature-extraction") for name in chosen]
