"""What is asked and what is shown, task by task: a function for each kind of answer. Each takes Gradio's module.

A panel puts what is asked on the page that is being built; what is shown is put below the button by
:func:`edgekit.demo.page.build`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edgekit.demo.facts import table_of
from edgekit.errors import InputError, UsageError
from edgekit.runtime import Generator, Model, Seq2Seq
from edgekit.runtime.zero_shot import TEMPLATE

SHOWN: Final = 8  # labels of an answer
LABELS: Final = "sport, politics, cooking"


@dataclass(frozen=True, slots=True)
class Panel:
    """One way to ask.

    Attributes:
        inputs: Components whose values :attr:`answer` takes, in this order.
        outputs: Those that show its values.
        answer: Gives a tuple with a value for each output, or yields such tuples as they grow.
    """

    inputs: Sequence[Any]
    outputs: Sequence[Any]
    answer: Callable[..., tuple[Any, ...] | Iterator[tuple[Any, ...]]]


def panel(gr: Any, model: Model) -> Panel:
    """The panel for an open bundle.

    Raises:
        UsageError: There is none for its task.
    """
    make = PANELS.get(model.manifest.task)
    if make is None:
        raise UsageError(f"a demo of {model.manifest.task} is not known", hint=f"there is one of {', '.join(PANELS)}")
    return make(gr, model)


def _embed(gr: Any, model: Any) -> Panel:
    texts = gr.Textbox(
        label="Texts, one a line",
        lines=5,
        value="The film was dreadful.\nI hated that movie.\nThe film was developed.",
        elem_id="texts",
    )
    table = gr.Markdown(render=False, elem_id="cosines", elem_classes="table")

    def answer(text: str) -> tuple[Any, ...]:
        lines = _lines(text, "a text")
        vectors = model.embed(lines)
        units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        rows = [
            [f"{place}. {line}", *(f"{cosine:.3f}" for cosine in cosines)]
            for place, (line, cosines) in enumerate(zip(lines, units @ units.T, strict=True), start=1)
        ]
        return (table_of(["cosine", *map(str, range(1, len(lines) + 1))], rows),)

    return Panel([texts], [table], answer)


def _classify(gr: Any, model: Any) -> Panel:
    text = gr.Textbox(label="Text", lines=4, value="A fine film, and not a minute too long.", elem_id="text")
    label = gr.Label(render=False, label="Labels", num_top_classes=SHOWN, elem_id="labels")
    return Panel([text], [label], lambda text: (_scores(model(_filled(text), top_k=None)),))


def _zero_shot(gr: Any, model: Any) -> Panel:
    text = gr.Textbox(label="Text", lines=4, value="The team won the cup after extra time.", elem_id="text")
    labels = gr.Textbox(label="Labels, with commas", value=LABELS, elem_id="candidates")
    template = gr.Textbox(label="Sentence of a label", value=TEMPLATE, elem_id="template")
    several = gr.Checkbox(label="Several may be right", elem_id="several")
    label = gr.Label(render=False, label="Labels", num_top_classes=SHOWN, elem_id="labels")

    def answer(text: str, labels: str, template: str, several: bool) -> tuple[Any, ...]:  # noqa: FBT001 - a checkbox
        found = model(_filled(text), _commas(labels), hypothesis_template=template, multi_label=several)
        return (dict(zip(found["labels"], found["scores"], strict=True)),)

    return Panel([text, labels, template, several], [label], answer)


def _tag(gr: Any, model: Any) -> Panel:
    text = gr.Textbox(label="Text", lines=4, value="Maria Lopez flew from Paris to Rio de Janeiro.", elem_id="text")
    joined = gr.Checkbox(label="Join the tokens of a name", value=True, elem_id="joined")
    words = gr.HighlightedText(render=False, label="Tagged", combine_adjacent=False, elem_id="tags")

    def answer(text: str, joined: bool) -> tuple[Any, ...]:  # noqa: FBT001 - a checkbox
        found = model(_filled(text), aggregation_strategy="simple" if joined else "none")
        name = "entity_group" if joined else "entity"
        entities = [{"entity": one[name], "start": one["start"], "end": one["end"]} for one in found]
        return ({"text": text, "entities": entities},)

    return Panel([text, joined], [words], answer)


def _answer_questions(gr: Any, model: Any) -> Panel:
    question = gr.Textbox(label="Question", value="Who sat on the mat?", elem_id="question")
    context = gr.Textbox(
        label="Text that holds the answer",
        lines=6,
        value="The old cat sat on the mat, and the dog lay beside it.",
        elem_id="context",
    )
    shown = gr.HighlightedText(render=False, label="Answer, where it stands", elem_id="answer")
    label = gr.Label(render=False, label="Answers", num_top_classes=3, elem_id="labels")

    def answer(question: str, context: str) -> tuple[Any, ...]:
        found = model(question=_filled(question), context=_filled(context), top_k=3)
        answers = found if isinstance(found, list) else [found]
        best = answers[0]
        span = [{"entity": "answer", "start": best["start"], "end": best["end"]}] if best["answer"] else []
        scores = {one["answer"] or "(none)": min(one["score"], 1.0) for one in reversed(answers)}
        return {"text": context, "entities": span}, scores

    return Panel([question, context], [shown, label], answer)


def _fill(gr: Any, model: Any) -> Panel:
    text = gr.Textbox(
        label=f"Text with one {model.mask}", lines=3, value=f"The cat sat on the {model.mask}.", elem_id="text"
    )
    label = gr.Label(render=False, label="Words", num_top_classes=SHOWN, elem_id="labels")

    def answer(text: str) -> tuple[Any, ...]:
        if _filled(text).count(model.mask) != 1:
            raise InputError(f"write {model.mask} once, where a word is wanted")
        return ({one["token_str"]: one["score"] for one in model(text, top_k=SHOWN)},)

    return Panel([text], [label], answer)


def _rank(gr: Any, model: Any) -> Panel:
    query = gr.Textbox(label="Query", value="How do I mend a bicycle?", elem_id="query")
    documents = gr.Textbox(
        label="Documents, one a line",
        lines=5,
        value="Bread is made of flour.\nPatch the tyre, then pump it up.\nTrees grow slowly.",
        elem_id="documents",
    )
    table = gr.Markdown(render=False, elem_id="ranked", elem_classes="table")

    def answer(query: str, documents: str) -> tuple[Any, ...]:
        lines = _lines(documents, "a document")
        ranked = model(_filled(query), lines)
        return (table_of(["score", "document"], [[f"{hit['score']:.4f}", lines[hit["corpus_id"]]] for hit in ranked]),)

    return Panel([query, documents], [table], answer)


def _generate(gr: Any, model: Generator) -> Panel:
    prompt = gr.Textbox(label="Prompt", lines=4, value="Once upon a time", elem_id="text")
    tokens = gr.Slider(1, 512, value=64, step=1, label="Tokens, at most", elem_id="tokens")
    warmth = gr.Slider(0, 2, value=0, step=0.05, label="Temperature; 0 takes the likeliest", elem_id="temperature")
    written = gr.Textbox(render=False, label="Written", lines=8, interactive=False, elem_id="written")

    def answer(prompt: str, tokens: float, warmth: float) -> Iterator[tuple[Any, ...]]:
        how: dict[str, Any] = {"do_sample": True, "temperature": warmth} if warmth else {"do_sample": False}
        return _grown(model.stream(_filled(prompt), max_new_tokens=int(tokens), **how))

    return Panel([prompt, tokens, warmth], [written], answer)


def _rewrite(gr: Any, model: Seq2Seq) -> Panel:
    text = gr.Textbox(label="Text", lines=8, elem_id="text")
    tokens = gr.Slider(1, 512, value=64, step=1, label="Tokens, at most", elem_id="tokens")
    written = gr.Textbox(render=False, label="Written", lines=6, interactive=False, elem_id="written")
    return Panel(
        [text, tokens],
        [written],
        lambda text, tokens: _grown(model.stream(_filled(text), max_new_tokens=int(tokens), truncation=True)),
    )


def _see(gr: Any, model: Any) -> Panel:
    image = gr.Image(label="Image", type="numpy", sources=["upload", "webcam", "clipboard"], elem_id="image")
    label = gr.Label(render=False, label="Labels", num_top_classes=SHOWN, elem_id="labels")
    return Panel([image], [label], lambda image: (_scores(model(_given(image, "an image"), top_k=SHOWN)),))


def _see_labels(gr: Any, model: Any) -> Panel:
    image = gr.Image(label="Image", type="numpy", sources=["upload", "webcam", "clipboard"], elem_id="image")
    labels = gr.Textbox(label="Labels, with commas", value="a cat, a dog, a bicycle", elem_id="candidates")
    label = gr.Label(render=False, label="Labels", num_top_classes=SHOWN, elem_id="labels")
    return Panel(
        [image, labels],
        [label],
        lambda image, labels: (_scores(model(_given(image, "an image"), candidate_labels=_commas(labels))),),
    )


def _compare_images(gr: Any, model: Any) -> Panel:
    with gr.Row():
        one = gr.Image(label="One image", type="numpy", elem_id="image")
        other = gr.Image(label="Another", type="numpy", elem_id="other")
    cosine = gr.Number(render=False, label="Cosine of their vectors", precision=4, interactive=False, elem_id="cosine")

    def answer(one: Any, other: Any) -> tuple[Any, ...]:
        first, second = model.embed([_given(one, "an image"), _given(other, "another image")])
        return (float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-12)),)

    return Panel([one, other], [cosine], answer)


def _hear(gr: Any, model: Any) -> Panel:
    clip = gr.Audio(label="Sound", type="numpy", sources=["upload", "microphone"], elem_id="clip")
    label = gr.Label(render=False, label="Labels", num_top_classes=SHOWN, elem_id="labels")
    return Panel([clip], [label], lambda clip: (_scores(model(_samples(clip), top_k=SHOWN)),))


def _transcribe(gr: Any, model: Any) -> Panel:
    clip = gr.Audio(label="Speech", type="numpy", sources=["upload", "microphone"], elem_id="clip")
    written = gr.Textbox(render=False, label="Heard", lines=4, interactive=False, elem_id="written")
    return Panel([clip], [written], lambda clip: (model(_samples(clip))["text"],))


PANELS: Final[dict[str, Callable[[Any, Any], Panel]]] = {
    "audio-classification": _hear,
    "automatic-speech-recognition": _transcribe,
    "feature-extraction": _embed,
    "fill-mask": _fill,
    "image-classification": _see,
    "image-feature-extraction": _compare_images,
    "question-answering": _answer_questions,
    "text-classification": _classify,
    "text-generation": _generate,
    "text-ranking": _rank,
    "text2text-generation": _rewrite,
    "token-classification": _tag,
    "zero-shot-classification": _zero_shot,
    "zero-shot-image-classification": _see_labels,
}


def _grown(pieces: Iterator[str]) -> Iterator[tuple[str]]:
    text = ""
    for piece in pieces:
        text += piece
        yield (text,)
    yield (text,)


def _scores(found: Any) -> dict[str, float]:
    return {one["label"]: one["score"] for one in (found if isinstance(found, list) else [found])}


def _filled(text: str | None) -> str:
    if not text or not text.strip():
        raise InputError("write something first")
    return text


def _given(value: Any, what: str) -> Any:
    if value is None:
        raise InputError(f"choose {what} first")
    return value


def _lines(text: str, what: str) -> list[str]:
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if not lines:
        raise InputError(f"write {what} first")
    return lines


def _commas(text: str) -> list[str]:
    labels = [label.strip() for label in (text or "").split(",") if label.strip()]
    if not labels:
        raise InputError("write the labels first, with commas between them")
    return labels


def _samples(clip: Any) -> dict[str, Any]:
    """What Gradio gives, (rate, samples or (samples, channels) of integers), as the runtime takes it."""
    rate, samples = _given(clip, "a sound")
    if np.issubdtype(samples.dtype, np.integer):
        samples = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return {"raw": np.ascontiguousarray(samples.T, np.float32), "sampling_rate": int(rate)}
