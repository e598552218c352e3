import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.errors import HostError, InputError, IntegrityError, UsageError
from edgekit.runtime import load
from edgekit.runtime.golden import Golden, write_golden
from edgekit.spec.manifest import Component, Tensor
from edgekit.spec.settings.embedding import EmbeddingSettings

from .tiny_model import (
    DIMENSION,
    FOLDER,
    GOLDEN_TEXTS,
    VOCABULARY,
    expected,
    plain_variant,
    target,
    tiny_settings,
    tokenizer_json,
    write_tiny_model,
)

TEXTS = ["word1", "word2 word3 word4", "", "word5 nothing word6", "word7 " * 40, "word8 word9"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="module")
def model(folder):
    return load(folder)


def test_answers_are_those_of_the_definition(model):
    vectors = model.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), DIMENSION)
    np.testing.assert_allclose(vectors, [expected(text) for text in TEXTS], atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_batches_change_neither_answers_nor_their_order(model, batch_size):
    alone = np.stack([model.embed(text) for text in TEXTS])
    np.testing.assert_allclose(model.embed(TEXTS, batch_size=batch_size), alone, atol=1e-6)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=40) | st.sampled_from(TEXTS), max_size=9), st.integers(1, 5))
def test_any_text_gives_its_vector_in_its_place(model, texts, batch_size):
    vectors = model.embed(texts, batch_size=batch_size)
    assert vectors.shape == (len(texts), DIMENSION)
    assert np.isfinite(vectors).all()
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, model.embed(text), atol=1e-6)


def test_a_single_text_gives_a_single_vector(model):
    assert model.embed("word1").shape == (DIMENSION,)


def test_no_texts_give_no_vectors(model):
    assert model.embed([]).shape == (0, DIMENSION)


def test_a_numpy_array_of_texts_is_a_list_of_texts(model):
    np.testing.assert_array_equal(model.embed(np.array(TEXTS)), model.embed(TEXTS))


def test_two_megabytes_of_text_are_truncated_like_less(model):
    np.testing.assert_array_equal(model.embed("word1 word2 " * 170_000), model.embed("word1 word2 " * 20))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["word1", None], "text 1: expected a str, got NoneType"),
        (["word1", "word2", b"word3"], "text 2: expected a str, got bytes"),
        ([["word1"]], "text 0: expected a str, got list"),
        (["word1", "a\ud800"], "text 1: character 1 is a lone surrogate"),
        (b"word1", "text 0: expected a str, got int"),
        (5, "expected a str or a list of str, got int"),
        ({"word1": 1}, "expected a str or a list of str, got dict"),
    ],
)
def test_what_is_no_text_is_refused_by_its_index(model, texts, message):
    with pytest.raises(InputError, match=message):
        model.embed(texts)


def test_nul_is_text(model):
    assert np.isfinite(model.embed("word1\0word2")).all()


def test_batches_hold_at_least_one_text(model):
    with pytest.raises(UsageError, match="batch_size 0"):
        model.embed(TEXTS, batch_size=0)


def test_pooling_and_normalization_are_the_manifests(tmp_path):
    cls = EmbeddingSettings("last_hidden_state", "cls", False, DIMENSION)
    model = load(write_tiny_model(tmp_path / "bundle", settings=tiny_settings(embedding=cls)))
    np.testing.assert_allclose(model.embed("word1 word2"), expected("word1", pooling="cls", normalize=False), atol=1e-6)


def test_the_model_says_what_it_is(model):
    assert (model.dimension, model.max_length) == (DIMENSION, 16)
    assert model.variant.name == "plain"
    assert model.manifest.name == "tiny"
    assert model.host.cpu_features


def test_a_closed_model_says_so(folder):
    with load(folder) as model:
        model.embed("word1")
    with pytest.raises(UsageError, match="closed"):
        model.embed("word1")


def test_the_self_test_replays_the_golden_cases(model):
    result = model.self_test()
    assert result.passed
    assert result.cases == len(GOLDEN_TEXTS)
    assert result.bound <= result.worst <= 1 + 1e-6
    assert result.seconds > 0


def test_a_swapped_tokenizer_fails_the_self_test(tmp_path):
    swapped = (*VOCABULARY[:4], *reversed(VOCABULARY[4:]))
    folder = write_tiny_model(tmp_path / "bundle", files={"text/tokenizer.json": tokenizer_json(swapped)})
    assert not load(folder).self_test().passed


def test_wrong_pooling_fails_the_self_test(tmp_path):
    cls = EmbeddingSettings("last_hidden_state", "cls", True, DIMENSION)
    assert not load(write_tiny_model(tmp_path / "bundle", settings=tiny_settings(embedding=cls))).self_test().passed


def test_one_wrong_golden_answer_fails_the_self_test(tmp_path):
    cases = [Golden({"text": text}, {"embedding": expected(text)}) for text in GOLDEN_TEXTS]
    cases[1] = Golden(cases[1].input, {"embedding": expected("word30")})
    folder = write_tiny_model(
        tmp_path / "bundle", files={"golden/cases.json": write_golden("feature-extraction", cases)}
    )
    result = load(folder).self_test()
    assert not result.passed
    assert result.worst < 0.9


@pytest.mark.parametrize("path", [f"{FOLDER}/model.onnx", f"{FOLDER}/model.onnx.data", "text/tokenizer.json"])
def test_an_altered_bundle_is_refused(tmp_path, path):
    folder = write_tiny_model(tmp_path / "bundle")
    data = bytearray((folder / path).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / path).write_bytes(data)
    with pytest.raises(IntegrityError, match="sha256"):
        load(folder)


def test_altered_golden_cases_are_refused(tmp_path):
    folder = write_tiny_model(tmp_path / "bundle")
    model = load(folder)
    path = folder / "golden/cases.json"
    path.write_bytes(path.read_bytes().replace(b"word4", b"word5"))
    with pytest.raises(IntegrityError, match="sha256"):
        model.self_test()


def test_a_bundle_for_other_cpus_is_refused_with_the_reason(tmp_path):
    exotic = {"exotic": target("exotic", "x86_64", "avx2", "avx512_vnni", "avx_vnni", "avx512f")}
    folder = write_tiny_model(tmp_path / "bundle", targets=exotic, variants=(plain_variant(targets=("exotic",)),))
    with pytest.raises(HostError, match=r"no variant of the bundle fits this .* CPU.*: exotic "):
        load(folder, threads=1)


def test_an_unknown_task_needs_a_newer_edgekit(tmp_path):
    with pytest.raises(HostError, match="object-detection") as caught:
        load(write_tiny_model(tmp_path / "bundle", task="object-detection"))
    assert "newer edgekit" in caught.value.hint


def test_an_onnxruntime_out_of_range_is_refused(tmp_path):
    with pytest.raises(HostError, match=r"needs onnxruntime <1\.0"):
        load(write_tiny_model(tmp_path / "bundle", onnxruntime="<1.0"))


def test_an_unknown_variant_is_refused_with_the_nearest(folder):
    with pytest.raises(UsageError) as caught:
        load(folder, variant="plane")
    assert "'plain'" in caught.value.hint


@pytest.mark.parametrize("threads", [0, -1, 5000])
def test_absurd_thread_counts_are_refused(folder, threads):
    with pytest.raises(UsageError, match="threads"):
        load(folder, threads=threads)


def test_threads_and_spinning_do_not_change_answers(folder, model):
    with load(folder, variant="plain", threads=1, spin=True) as other:
        np.testing.assert_array_equal(other.embed(TEXTS), model.embed(TEXTS))


def test_an_input_that_text_does_not_give_needs_a_newer_edgekit(tmp_path):
    inputs = (Tensor("input_ids", "int64", ("b", "s")), Tensor("pixel_values", "float32", ("b", "s")))
    outputs = (Tensor("last_hidden_state", "float32", ("b", "s", DIMENSION)),)
    with pytest.raises(HostError, match="pixel_values"):
        load(write_tiny_model(tmp_path / "bundle", components={"model": Component(inputs, outputs)}))
