"""edgekit itself: bundles made by its command line, opened by its runtime. Also finds checkpoints and their texts."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from protocol import Loaded, Request, Worker, inputs_of, serve, token_ids

CALIBRATED, JUDGED = 200, 800
USUAL = "int8-dynamic+smooth"  # what most encoders ship with


def build(request: Request) -> tuple[list[Path], list[str]]:
    """``edgekit export`` for every target; the artefact is a recipe, or ``best`` for what the export chooses."""
    model, bundle = request["model"], Path(request["folder"]) / "bundle"
    if "texts" in model:  # it is a random one
        return _unjudged(request, bundle)
    command = [sys.executable, "-m", "edgekit", "export", model["source"], "-t", "all", "-o", str(bundle), "--replace"]
    if request["artefact"] != "best":
        command += ["--recipe", request["artefact"]]
    subprocess.run(command, check=True)
    return [bundle], []


def _unjudged(request: Request, bundle: Path) -> tuple[list[Path], list[str]]:
    """The files that a recipe makes, in a draft that nobody judged: random weights have no answers worth keeping.

    For the same reason a decoder's are rounded to the nearest, in minutes: as many bytes in the same places.
    """
    from tempfile import TemporaryDirectory

    from edgekit import catalog
    from edgekit.spec.progress import Silent
    from edgekit.stages import bench, data, package, recipes
    from edgekit.stages.ladder import ladder
    from edgekit.stages.request import BuildRequest

    model = request["model"]
    names = catalog.expand_targets([catalog.ALL])
    wanted = BuildRequest(model["source"], names, bundle, task=model["task"], allow_unproven=True)
    texts = data.read_rows(Path(model["texts"]))
    with TemporaryDirectory(dir=bundle.parent.parent) as folder:
        made = bench.prepare(wanted, {name: catalog.target(name) for name in names}, texts, Path(folder), Silent())
        name = USUAL if request["artefact"] == "best" else request["artefact"]
        (recipe,) = ladder(name, made.contents.components)
        if model["task"] == "text-generation":
            recipe = dataclasses.replace(recipe, calibrated=False)
        files = Path(folder) / "files"
        recipes.make(recipe, made.start(names), files)
        variant = package.describe(recipe, names, made.contents.components)
        package.draft(made.contents, [(variant, files)], bundle)
    return [bundle], ["random weights, not judged"]


def load(request: Request) -> Loaded:
    """The session of the variant that this CPU gets, with the defaults it ships with unless ``spin`` says otherwise."""
    bundle, variant, keywords = _choose(request)
    from edgekit.runtime.session import open_session

    session = open_session(bundle, variant, **keywords)

    def feeds(ids: Any) -> dict[str, Any]:
        made = inputs_of(ids)
        return {tensor.name: made[tensor.name].astype(tensor.dtype) for tensor in session.inputs}

    return Loaded(feeds, session.run, lambda outputs: next(iter(outputs.values())), (f"recipe {variant.recipe}",))


def first_answer(request: Request) -> Any:
    """As its users start: verified, from text."""
    from edgekit.runtime import load as open_bundle

    spin = {"spin": True} if request["options"].get("spin") else {}
    model = open_bundle(_bundle(request), threads=request["threads"], **spin)
    return model.raw([{"text": request["text"]}])


def generator(request: Request) -> Any:
    """The decoding loop of :mod:`edgekit.runtime.decoding`, greedy, on token ids."""
    bundle, variant, keywords = _choose(request)
    from edgekit.runtime.decoding import Decoder
    from edgekit.runtime.sampling import GenerationOptions
    from edgekit.runtime.session import open_session

    weights: dict[str, memoryview] = {}
    prefill, decode = (
        open_session(bundle, variant, name, weights=weights, **keywords) for name in ("prefill", "decode")
    )
    decoder = Decoder(prefill, decode, pad_id=0, max_positions=0)

    def generate(prompt: Sequence[int], new: int) -> Iterator[Any]:
        return decoder.steps([prompt], GenerationOptions(max_new_tokens=new))

    return generate


def checkpoint(request: Request) -> dict[str, Any]:
    """A model of the catalog: its folder (trained now where it is one that is trained here), its task and sizes."""
    from edgekit import catalog
    from edgekit.spec.model import Trained
    from edgekit.stages.fetch import fetch
    from edgekit.stages.train import trained

    card = catalog.models()[request["name"]]
    if isinstance(card.origin, Trained):
        trained(card, lambda *_: None)
    folder = fetch(card.name).folder
    return {"checkpoint": str(folder), "task": card.task, **_sizes(folder)}


def inputs(request: Request) -> dict[str, Any]:
    """Token ids of the texts to calibrate on and of those to judge on, which calibrated nothing."""
    folder = Path(request["model"]["checkpoint"])
    held_out = folder / "evaluation.jsonl"
    if held_out.exists():
        judged, calibrated = _rows(held_out), _rows(folder / "calibration.jsonl")
    else:
        from edgekit.stages.data import builtin_texts

        corpus = builtin_texts()
        judged, calibrated = ([row["text"] for row in rows] for rows in (corpus.judged, corpus.calibration))
    for name, texts in (("judged", judged[:JUDGED]), ("calibration", calibrated[:CALIBRATED])):
        Path(request[name]).write_text(json.dumps(token_ids(request, texts)), encoding="utf-8")
    return {"judged": len(judged[:JUDGED]), "text": judged[0]}


def _rows(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def _sizes(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    limit = config["max_position_embeddings"]
    for file, key in (("tokenizer_config.json", "model_max_length"), ("sentence_bert_config.json", "max_seq_length")):
        if (folder / file).exists():
            limit = min(limit, json.loads((folder / file).read_text(encoding="utf-8")).get(key, limit))
    return {"max_length": limit, "vocabulary": config["vocab_size"], "config": config}


def _bundle(request: Request) -> Path:
    return Path(request["options"].get("bundle") or Path(request["folder"]) / "bundle")


def _choose(request: Request) -> tuple[Any, Any, dict[str, Any]]:
    from edgekit.bundle.reading import Bundle
    from edgekit.runtime.host import detect_host
    from edgekit.runtime.selection import choose_variant

    bundle = Bundle.open(_bundle(request))
    keywords: dict[str, Any] = {"threads": request["threads"]}
    if request["options"].get("spin"):
        keywords["spin"] = True
    return bundle, choose_variant(bundle.manifest, detect_host()), keywords


if __name__ == "__main__":
    more = {"checkpoint": checkpoint, "inputs": inputs}
    serve(Worker(build=build, load=load, generator=generator, first_answer=first_answer, more=more))
