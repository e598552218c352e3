"""Audio tasks from checkpoint to device: the runtime answers what transformers.pipeline answers to the same sounds."""

import json
import wave

import numpy as np
import pytest

from edgekit.cli import main
from edgekit.errors import InputError, UsageError
from edgekit.pipeline import BuildRequest, build
from edgekit.runtime import load, pipeline
from edgekit.spec.progress import Silent
from edgekit.stages.quiet import quiet
from edgekit.stages.synthetic_audio import sound

from .audio_checkpoints import write_ast, write_hubert, write_wav2vec2, write_whisper

pytestmark = pytest.mark.export

SHORTEST = 325  # samples behind one frame, by the checkpoint's convolutions
CLIPS = [sound(1, 8000), sound(2, 13001), sound(3, 8000)]


def original(task, folder, **options):
    with quiet():
        from transformers import pipeline as transformers_pipeline

        return transformers_pipeline(task, model=str(folder), device="cpu", **options)


def built(tmp_path_factory, name, write):
    folder = tmp_path_factory.mktemp(name)
    write(folder / "checkpoint")
    build(
        BuildRequest(
            model=str(folder / "checkpoint"),
            targets=("x86_64-avx2",),
            output=folder / "bundle",
            recipe="fp32",
            allow_unproven=True,
        ),
        Silent(),
    )
    return folder


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory):
    return built(tmp_path_factory, "wav2vec2", write_wav2vec2)


@pytest.fixture(scope="module")
def hubert(tmp_path_factory):
    return built(tmp_path_factory, "hubert", write_hubert)


@pytest.fixture(scope="module")
def ast(tmp_path_factory):
    return built(tmp_path_factory, "ast", write_ast)


def assert_labels_alike(found, expected):
    assert [answer["label"] for answer in found] == [answer["label"] for answer in expected]
    np.testing.assert_allclose(
        [answer["score"] for answer in found], [answer["score"] for answer in expected], atol=1e-4
    )


@pytest.mark.parametrize("name", ["hubert", pytest.param("ast", marks=pytest.mark.long)])
def test_classifiers_answer_as_the_pipeline(name, request):
    folder = request.getfixturevalue(name)
    reference = original("audio-classification", folder / "checkpoint")
    with pipeline("audio-classification", model=folder / "bundle") as model:
        assert_labels_alike(model(CLIPS[0]), reference(CLIPS[0]))
        assert_labels_alike(model(CLIPS[1], top_k=2), reference(CLIPS[1], top_k=2))
        plain = {"function_to_apply": "none"}
        assert_labels_alike(model(CLIPS[1], **plain), reference(CLIPS[1], **plain))
        asked = [{"raw": clip, "sampling_rate": 16000} for clip in CLIPS]
        together = model(asked, batch_size=3)
        for found, expected in zip(together, reference(asked), strict=True):
            assert_labels_alike(found, expected)
        assert model.self_test().passed


def test_a_recognizer_answers_as_the_pipeline(wav2vec2):
    reference = original("automatic-speech-recognition", wav2vec2 / "checkpoint")
    with pipeline("automatic-speech-recognition", model=wav2vec2 / "bundle") as model:
        found = model(CLIPS, batch_size=3)
        assert found == [reference(clip) for clip in CLIPS]
        assert len({answer["text"] for answer in found}) > 1
        assert min(len(answer["text"]) for answer in found) > 3
        for times in ("char", "word"):
            assert model(CLIPS[1], return_timestamps=times) == reference(CLIPS[1], return_timestamps=times)
        assert model.self_test().passed


@pytest.mark.parametrize("stride", [None, 0.1, (0.05, 0.2), 0])
def test_a_long_clip_is_joined_from_chunks_as_the_pipeline_joins_it(wav2vec2, stride):
    reference = original("automatic-speech-recognition", wav2vec2 / "checkpoint")
    options = {"chunk_length_s": 0.6, "return_timestamps": "word"}
    if stride is not None:
        options["stride_length_s"] = stride
    clip = np.concatenate([*CLIPS, CLIPS[1]])
    with load(wav2vec2 / "bundle") as model:
        assert model(clip, batch_size=2, **options) == reference(clip, **options)


def test_raw_answers_do_not_depend_on_the_batch(wav2vec2):
    with load(wav2vec2 / "bundle") as model:
        inputs = [{"audio": clip} for clip in CLIPS]
        for alone, together in zip(model.raw(inputs), model.raw(inputs, batch_size=3), strict=True):
            np.testing.assert_allclose(alone["logits"], together["logits"], atol=1e-5)


def test_the_shortest_clip_has_one_frame(wav2vec2):
    reference = original("automatic-speech-recognition", wav2vec2 / "checkpoint")
    with load(wav2vec2 / "bundle") as model:
        shortest = CLIPS[1][:SHORTEST]
        assert len(model.raw([{"audio": shortest}])[0]["logits"]) == 1
        assert model(shortest) == reference(shortest)


def test_what_makes_no_sense_never_reaches_onnxruntime(wav2vec2, hubert):
    with load(wav2vec2 / "bundle") as model:
        with pytest.raises(InputError, match=f"needs at least {SHORTEST}"):
            model(CLIPS[0][: SHORTEST - 1])
        with pytest.raises(InputError, match="audio 1: expected"):
            model([CLIPS[0], None])
        with pytest.raises(UsageError, match="return_timestamps True: expected char or word"):
            model(CLIPS[0], return_timestamps=True)
        with pytest.raises(UsageError, match="the model needs at least"):
            model(CLIPS[0], chunk_length_s=0.02)
        assert model([]) == []
    with load(hubert / "bundle") as model, pytest.raises(UsageError, match="top_k 0"):
        model(CLIPS[0], top_k=0)


def test_without_recordings_nothing_is_proven(hubert):
    with load(hubert / "bundle") as model:
        assert model.variant.parity == "unproven"
    evidence = (hubert / "bundle" / "evidence" / "parity.json").read_text("utf-8")
    assert "synthetic sounds only: give recordings with --data" in evidence


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return built(tmp_path_factory, "whisper", write_whisper)


def transcribed(folder):
    """The pipeline's answers, by the likeliest token as edgekit's: its own default is five beams."""
    reference = original("automatic-speech-recognition", folder / "checkpoint")

    def answer(clip, generate=None, **options):
        with quiet():
            return reference(clip, generate_kwargs={"num_beams": 1, **(generate or {})}, **options)

    return answer


def test_a_recognizer_with_a_decoder_answers_as_the_pipeline(whisper):
    reference = transcribed(whisper)
    with pipeline("automatic-speech-recognition", model=whisper / "bundle") as model:
        found = model(CLIPS, batch_size=3)
        assert found == [reference(clip) for clip in CLIPS]
        assert len({answer["text"] for answer in found}) == 3
        for options in ({"language": "german"}, {"language": "en", "task": "translate"}, {"max_new_tokens": 4}):
            assert model(CLIPS[1], **options) == reference(CLIPS[1], options)
            assert model(CLIPS[1], generate_kwargs=options) == model(CLIPS[1], **options)
        assert model(CLIPS, return_timestamps=True, batch_size=2) == [
            reference(clip, return_timestamps=True) for clip in CLIPS
        ]
        assert model.self_test().passed
        assert model.languages == ("de", "en")


def test_long_clips_are_heard_window_by_window_as_by_the_pipeline(whisper):
    long = np.concatenate(CLIPS)
    with load(whisper / "bundle") as model:
        found = model(long, return_timestamps=True)
        assert found == transcribed(whisper)(long, return_timestamps=True)
        assert len(found["chunks"]) > 1
        assert model(long) == {"text": found["text"]}


@pytest.mark.parametrize("times", [None, True])
@pytest.mark.parametrize(("length", "stride"), [(1.0, None), (0.5, 0.1), (1.0, (0.2, 0.3))])
def test_chunks_are_merged_as_by_the_pipeline(whisper, length, stride, times):
    long = np.concatenate([*CLIPS, *CLIPS[::-1]])
    options = {"chunk_length_s": length, "stride_length_s": stride, "return_timestamps": times}
    with load(whisper / "bundle") as model:
        assert model(long, batch_size=3, **options) == transcribed(whisper)(long, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "french"}, "language 'french' is none"),
        ({"task": "sing"}, "task 'sing': expected transcribe or translate"),
        ({"return_timestamps": "word"}, "return_timestamps 'word'"),
        ({"chunk_length_s": 2}, "the model hears 1 s at once"),
        ({"generate_kwargs": {"num_beams": 5}}, "num_beams: expected"),
        ({"max_new_tokens": 0}, "max_new_tokens 0"),
        ({"batch_size": 0}, "batch_size 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(whisper, options, message):
    with load(whisper / "bundle") as model, pytest.raises(UsageError, match=message):
        model(CLIPS[0], **options)


@pytest.mark.parametrize(
    ("name", "options"), [("wav2vec2", {}), ("hubert", {"top_k": 2}), ("whisper", {"language": "en"})]
)
def test_run_reads_sound_files_from_the_command_line(name, options, request, tmp_path, capsys):
    bundle = request.getfixturevalue(name) / "bundle"
    with wave.open(str(tmp_path / "one.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((CLIPS[1] * 32767).astype("<i2").tobytes())
    flags = [flag for option, value in options.items() for flag in ("--set", f"{option}={json.dumps(value)}")]
    assert main(["run", str(bundle), str(tmp_path / "one.wav"), *flags, "--json"]) == 0
    with load(bundle) as model:
        expected = model(str(tmp_path / "one.wav"), **options)
    assert json.loads(capsys.readouterr().out)["answers"] == [expected]
    assert main(["run", str(bundle), str(tmp_path / "one.wav"), *flags]) == 0
    assert "by fp32" in capsys.readouterr().out
    assert main(["run", str(bundle), str(tmp_path / "none.wav"), *flags]) == InputError.exit_code
    assert "none.wav" in capsys.readouterr().err
