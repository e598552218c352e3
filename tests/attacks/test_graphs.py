"""A bundle whose digests are right and whose graph or tokenizer is not: one typed error, in little time and memory."""

import pytest

from ..unit.tiny_model import FOLDER, write_tiny_model  # noqa: TID252 - tests are no installed package
from .graphs import bad_graphs, bad_tokenizers, bombs, not_a_number
from .sandbox import hold, outcomes

REFUSED = ("IntegrityError", "HostError")


def written(contents, path, tmp_path):
    """A bundle for each content of one of its files, by name."""
    return {
        name: write_tiny_model(tmp_path / f"{number:03}", files={path: content})
        for number, (name, content) in enumerate(contents.items())
    }


@pytest.mark.parametrize(
    ("contents", "path"),
    [(bad_graphs, f"{FOLDER}/model.onnx"), (bad_tokenizers, "text/tokenizer.json")],
    ids=["graphs", "tokenizers"],
)
def test_what_cannot_be_opened_is_refused(contents, path, tmp_path):
    bundles = list(written(contents(), path, tmp_path).values())
    # Their bytes are what is listed, so that to open or to hash them finds nothing.
    hold(bundles, tmp_path, errors=REFUSED, exit_codes=(7, 8), unread=("accepted",))


def test_a_graph_that_computes_something_enormous_ends_in_an_error(tmp_path):
    bundles = written(bombs(), f"{FOLDER}/model.onnx", tmp_path)
    found = outcomes(list(bundles.values()), tmp_path)
    for name, bundle in bundles.items():
        outcome = found[str(bundle)]
        # Whether the optimizer tries it at once or the first call does is ONNX Runtime's choice.
        assert outcome["load"] in (*REFUSED, "accepted"), (name, outcome)
        assert outcome["exit_code"] in (3, 7, 8), (name, outcome)
        assert not outcome["traceback"], name


def test_weights_that_are_no_numbers_do_not_pass_the_golden_cases(tmp_path):
    bundles = written(not_a_number(), f"{FOLDER}/model.onnx.data", tmp_path)
    found = outcomes(list(bundles.values()), tmp_path)
    for name, bundle in bundles.items():
        assert found[str(bundle)]["exit_code"] == 5, name
