"""``edgekit run`` on bundles that generate, from the command line to the graphs."""

import json

import pytest

from edgekit.cli import main

from .tiny_generator import continued, write_generator, write_seq2seq


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(write_generator(tmp_path_factory.mktemp("generator") / "bundle"))


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")

    def call(*arguments):
        code = main(["run", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_a_prompt_is_continued_on_the_terminal_as_it_comes(run, path):
    assert run(path, "w3 w4") == (0, continued("w3 w4", 8) + "\n", "")
    assert run(path, "w3 w4", "--set", "max_new_tokens=3") == (0, continued("w3 w4", 3) + "\n", "")


def test_an_encoder_decoder_streams_too(run, tmp_path):
    bundle = str(write_seq2seq(tmp_path / "bundle"))
    assert run(bundle, "w3") == (0, continued("<pad>", 8, encoder=3) + "\n", "")


def test_several_prompts_and_json_are_answered_whole(run, path):
    code, out, _ = run("--json", path, "w3 w4")
    assert code == 0
    assert json.loads(out)["answers"] == [[{"generated_text": "w3 w4" + continued("w3 w4", 8)}]]
    code, out, _ = run(path, "w3", "w4 w5")
    assert code == 0
    assert "generated_text" in out


def test_an_option_that_is_none_names_the_nearest(run, path):
    code, _, err = run(path, "w3", "--set", "temprature=2")
    assert code == 2
    assert "text-generation has no such option" in err
    assert "did you mean 'temperature'?" in err


def test_a_name_of_the_task_names_the_result(run, tmp_path):
    bundle = str(write_seq2seq(tmp_path / "bundle"))
    code, out, _ = run("--json", bundle, "w3", "--task", "translation")
    assert code == 0
    assert [list(answer) for answer in json.loads(out)["answers"]] == [["translation_text"]]
