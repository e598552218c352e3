"""The comparison with peers: its statistics, its tables, and its processes, with peers made up here."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import catalogue, environments, models, processes, quality, render, statistics
from benchmarks.peers.artefacts import Artefact, Builder
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.environments import Environment, Pythons, UnavailableError
from benchmarks.peers.models import WORKERS
from benchmarks.peers.runner import Runner, Side

FAKE = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(WORKERS)!r})
from protocol import Loaded, Worker, serve

def build(request):
    if request["artefact"] == "broken":
        raise ValueError("no such preset")
    path = Path(request["folder"]) / "model.bin"
    path.write_bytes(b"12345")
    return [path], ["made by a fake"]

def load(request):
    print("noise on standard output")
    if request["options"].get("fails") == request["command"]:
        raise RuntimeError("illegal instruction")
    wait = request["options"].get("wait", 0.0)
    off = request["options"].get("off", 0.0)
    def run(ids):
        time.sleep(wait)
        return ids[..., None] * [[[1.0, 2.0]]] + off
    return Loaded(lambda ids: ids, run, lambda states: states, ("a note",))

def generator(request):
    def generate(prompt, new):
        for token in range(new):
            time.sleep(0.001)
            yield token
    return generate

serve(Worker(build=build, load=load, generator=generator, first_answer=load))
"""


@pytest.fixture
def worker(tmp_path):
    path = tmp_path / "run_fake.py"
    path.write_text(FAKE)
    return path


def side(name, worker, **options):
    peer = Peer(name, "here", str(worker), "file", "int8", options=options)
    return Side(peer, Path(sys.executable), Artefact(worker.parent, 5, ()))


def runner(sides, **model):
    said = []
    made = Runner(sides, {"name": "fake", "vocabulary": 1000, "text": "a", **model}, threads=2, say=said.append)
    return made, said


# Statistics


def test_interval_of_a_median_is_of_order_statistics_with_its_true_coverage():
    found = statistics.median([5.0, 1.0, 4.0, 2.0, 3.0, 6.0])
    assert (found.value, found.low, found.high) == (3.5, 1.0, 6.0)
    assert found.coverage == pytest.approx(1 - 2 / 2**6)
    wider = statistics.median(list(range(11)))
    assert (wider.low, wider.high) == (1, 9)  # 1 - 2 * 12 / 2**11 = 0.988; a rank further it is 0.935
    assert wider.coverage == pytest.approx(1 - 2 * 12 / 2**11)


def test_too_few_values_say_how_little_they_cover():
    found = statistics.median([1.0, 2.0, 3.0])
    assert (found.low, found.high, found.coverage) == (1.0, 3.0, 0.75)
    with pytest.raises(ValueError, match="no values"):
        statistics.median([])


def test_interval_holds_the_true_median_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = [
        found.low <= np.log(2) <= found.high  # an exponential's median: far from symmetric
        for found in (statistics.median(random.exponential(size=9).tolist()) for _ in range(2000))
    ]
    assert np.mean(held) == pytest.approx(statistics.median([0.0] * 9).coverage, abs=0.015)


def test_ratios_are_taken_pair_by_pair_so_that_a_slow_phase_cancels():
    ours, theirs = [1.0, 10.0, 2.0, 5.0, 1.0, 3.0], [2.0, 20.0, 4.0, 10.0, 2.0, 6.0]
    found = statistics.ratio(ours, theirs)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        statistics.ratio(ours, theirs[:-1])


def test_interval_of_a_share_stays_in_its_bounds():
    low, high = statistics.share(97, 100)
    assert (low, high) == (pytest.approx(0.9155, abs=1e-3), pytest.approx(0.9897, abs=1e-3))
    assert statistics.share(10, 10)[1] == 1
    with pytest.raises(ValueError, match="no share"):
        statistics.share(2, 1)


# Quality


def test_neighbours_count_where_cosines_are_alike():
    reference = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], dtype=np.float32)
    moved = reference.copy()
    moved[0] = [0.1, 1.0]  # its nearest is now another
    same, other = quality.embeddings(reference, reference), quality.embeddings(reference, moved)
    assert (same["agreement"], same["cosine"]) == (1, pytest.approx(1))
    assert other["agreement"] < 1
    assert other["cases"] == 4


def test_token_labels_count_token_by_token_without_special_ones():
    ends, words = np.eye(3, dtype=np.float32)[:1], np.eye(3, dtype=np.float32)
    first = [np.concatenate([ends, words, ends]), np.concatenate([ends, words[:1], ends])]
    second = [np.concatenate([words[1:2], words[[0, 1, 0]], words[2:]]), first[1]]
    found = quality.labels(first, second)
    assert (found["agreement"], found["cases"]) == (0.75, 4)


def test_labels_of_whole_texts_count_text_by_text():
    first, second = (
        [np.array([1, 0], np.float32)] * 4,
        [np.array([1, 0], np.float32)] * 3 + [np.array([0, 1], np.float32)],
    )
    found = quality.labels(first, second)
    assert (found["agreement"], found["cases"]) == (0.75, 4)


def test_answers_of_another_shape_are_no_answers(tmp_path):
    for name, length in (("first", 3), ("second", 2)):
        np.savez(tmp_path / f"{name}.npz", **{"0": np.zeros((length, 2), np.float32)})
    with pytest.raises(ValueError, match="other shapes"):
        quality.compare(tmp_path / "first.npz", tmp_path / "second.npz", "embedding")


# Processes


def test_sides_take_turns_and_the_slower_one_is_seen_to_be(worker):
    made, said = runner([side("slow", worker, wait=0.02), side("fast", worker)])
    times = made.rounds({"command": "time", "shapes": {"1x16": (1, 16)}, "seconds": 0.01}, 2)
    assert [len(found) for found in times.values()] == [2, 2]  # the round that warms the disk is left out
    slow, fast = (times[name][0].values["ms"]["1x16"] for name in ("slow", "fast"))
    assert slow > 20
    assert slow > fast
    assert said == [f"fake: time, round {number} of 2" for number in range(3)]


def test_order_changes_from_round_to_round(worker):
    asked = []

    def ask(python, worker, request):
        asked.append(request["options"]["number"])
        return processes.Reply({}, 0, 0, 0)

    sides = [side(str(number), worker, number=number) for number in range(8)]
    Runner(sides, {"name": "fake"}, threads=1, say=len, ask=ask).rounds({"command": "time"}, 3)
    rounds = [asked[start : start + 8] for start in range(0, 32, 8)]
    assert all(sorted(order) == list(range(8)) for order in rounds)
    assert len({tuple(order) for order in rounds}) == 4


def test_a_side_that_fails_is_a_reason_and_the_others_go_on(worker):
    made, said = runner([side("bad", worker, fails="time"), side("good", worker)])
    times = made.times({"1x4": (1, 4)}, 1)
    assert list(times) == ["good"]
    assert times["good"]["notes"] == ["a note"]
    assert made.reasons == {"bad": "time: RuntimeError: illegal instruction (exit code 1)"}
    assert any("bad is left out" in line for line in said)
    assert list(made.starts(1)) == ["good"]  # it is not asked again


def test_a_start_is_timed_from_the_process_on_and_weighs_it(worker):
    made, _ = runner([side("one", worker)])
    found = made.starts(1)["one"]
    assert 0 < found["start_s"][0] < 20
    assert found["peak_mb"][0] > 5


def test_generation_times_the_prompt_and_each_further_token(worker):
    made, _ = runner([side("one", worker)])
    found = made.generations(1)["one"]
    assert found["prefill_ms"][0] >= 1
    assert len(found["token_ms"][0]) == 127
    assert min(found["token_ms"][0]) >= 1


def test_answers_are_held_against_the_originals(worker, tmp_path):
    judged = tmp_path / "judged.json"
    judged.write_text("[[1, 2, 3], [500, 3], [7, 900]]")
    sides = [side("same", worker), side("off", worker, off=300.0, precision="other")]
    made, _ = runner(sides, judged=str(judged))
    found = made.qualities(side("original", worker), "embedding")
    assert found["same"]["cosine"] == pytest.approx(1)
    assert found["off"]["cosine"] < 0.999


def test_a_worker_that_hangs_is_ended_and_named(tmp_path):
    path = tmp_path / "hangs.py"
    path.write_text("import time\ntime.sleep(60)\n")
    with pytest.raises(UnavailableError, match=r"longer than 0 s|longer than 1 s"):
        processes.ask(Path(sys.executable), path, {}, timeout_s=0.5)


def test_files_are_built_once_edgekits_own_anew_and_a_failure_says_why(worker, tmp_path):
    said = []
    builder = {"name": "fake", "checkpoint": "here"}, tmp_path / "files", {"here": Path(sys.executable)}
    peer = Peer("a", "here", str(worker), "file", "int8")
    first = Builder(*builder, say=said.append).build(peer)
    assert (first.size_bytes, first.notes) == (5, ("made by a fake",))
    assert Builder(*builder, say=said.append).build(peer) == first
    assert len(said) == 1
    worker.write_text(FAKE + "\n# changed\n")
    Builder(*builder, say=said.append).build(peer)
    assert len(said) == 2
    with pytest.raises(UnavailableError, match="no such preset"):
        Builder(*builder, say=said.append).build(Peer("b", "here", str(worker), "broken", "int8"))
    with pytest.raises(UnavailableError, match="takes no-such-compiler"):
        Builder(*builder).build(Peer("c", "here", str(worker), "file", "int8", needs=("no-such-compiler",)))


# Environments and the table of peers


def test_environment_without_its_compiler_or_its_packages_is_a_reason_given_once(tmp_path, monkeypatch):
    said = []
    table = {
        "compiled": Environment("compiled", ("a==1",), needs=("no-such-compiler",)),
        "gone": Environment("gone", ("no-such-package==1",)),
    }
    monkeypatch.setenv("PIP_FLAGS", f"--no-index --find-links {tmp_path}")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    # A real one takes seconds; nothing can be installed from an index that is not there.
    monkeypatch.setattr(environments.venv, "create", lambda folder, **options: Path(folder).mkdir())
    monkeypatch.setattr(environments, "python_of", lambda folder: Path(sys.executable))
    pythons = Pythons(tmp_path, table, say=said.append)
    with pytest.raises(UnavailableError, match="takes no-such-compiler"):
        pythons["compiled"]
    for _ in range(2):
        with pytest.raises(UnavailableError, match="no-such-package"):
            pythons["gone"]
    assert len(said) == 1
    assert dict(pythons) == {"edgekit": Path(sys.executable)}


def test_environment_is_not_made_again_while_its_requirements_stay(tmp_path):
    environment = Environment("there", ("a==1",))
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / environments.STAMP).write_text('["a==1"]')
    assert environments.build(environment, tmp_path, say=pytest.fail) == environments.python_of(folder)


def test_projects_tables_are_sound_and_pin_everything():
    peers, table = catalogue.read(), environments.read()
    for peer in peers.values():
        assert peer.environment == environments.OWN or peer.environment in table
        assert (WORKERS / peer.worker).is_file(), peer.worker
        assert not peer.source or (WORKERS / peer.source.worker).is_file()
    assert {peer.of for peer in peers.values()} == {model.of for model in models.MODELS.values()}


@pytest.mark.parametrize("requirement", ["openvino", ""])
def test_environment_that_pins_nothing_is_refused(tmp_path, requirement):
    path = tmp_path / "environments.toml"
    path.write_text(f'[one]\nrequirements = ["{requirement}"]\n')
    with pytest.raises(ValueError, match="not pinned"):
        environments.read(path)


def test_choosing_a_peer_brings_the_rows_it_is_held_against():
    peers = catalogue.read()
    names = [peer.name for peer in catalogue.chosen(peers, ["openvino"])]
    assert names == [
        "edgekit", "edgekit spinning", "edgekit half", "edgekit fp32", "edgekit fp32 spinning",
        "openvino nncf int8", "openvino bf16", "openvino fp32",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="did you mean"):
        catalogue.chosen(peers, ["openwino"])
    assert catalogue.chosen(peers, []) == list(peers.values())


def test_a_model_that_reads_less_is_given_less():
    assert models.shapes(64) == {"1x16": (1, 16), "1x64": (1, 64), "8x64": (8, 64)}


def test_operations_of_minilm_are_those_of_its_products():
    config = {"model_type": "bert", "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6}
    # 6 layers, 128 tokens: 4 * 384 * 384 + 2 * 384 * 1536 weights, and 128 keys and values for each token
    assert models.operations(config, 1, 128) == pytest.approx(2 * 6 * 128 * (1769472 + 2 * 128 * 384) / 1e9)
    assert models.operations({"model_type": "modernbert"}, 1, 1) is None


# Tables


def row(precision, ours, times, **more):
    figures = {"ms": {"1x16": times}, "size_bytes": 23e6, "start_s": [0.2], "peak_mb": [99.6], "notes": []}
    return {"precision": precision, "ours": ours, **figures, **more}


def drawn(result):
    """The tables' lines without the spaces that line them up."""
    return [" ".join(line.split()) for line in render.render(result).splitlines()]


def result(peers, of="encoder", **more):
    model = {"title": "a model", "of": of, "peers": peers, "operations": {"1x16": 0.5}, **more}
    limits = {"size": 2048, "float32_gflops": 100.0, "int8_gops": 400.0, "read_gb_s": 20.0}
    return {"threads": 2, "replicates": 6, "limits": limits, "versions": {"a": {"b": "1"}}, "models": {"m": model}}


def test_table_gives_times_quality_ratios_and_the_share_of_the_limit():
    good = {"cosine": 0.99912, "agreement": 0.97, "low": 0.956, "high": 0.98, "what": "nearest neighbour"}
    peers = {
        "edgekit": row("int8", "", [2.0, 2.1, 1.9, 2.0, 2.0, 2.0], quality=good),
        "edgekit spinning": row("int8", "", [1.0] * 6),
        "other": row("int8", "edgekit", [4.0, 4.2, 3.8, 4.0, 4.0, 4.0]),
    }
    lines = drawn(result(peers))
    assert "| edgekit | 2.00 [1.90, 2.10] | 0.99912 | 0.9700 [0.956, 0.980] | 23.0 | 0.20 | 100 |" in lines
    assert "| edgekit | 250 (62%) |" in lines  # 0.5e9 operations in 2 ms, of 400e9 a second
    assert "| edgekit / other | 0.500 [0.500, 0.500] |" in lines
    assert "| edgekit spinning / other | 0.250 [0.238, 0.263] |" in lines
    assert any("float32 100 GFLOP/s, int8 400 GOP/s" in line for line in lines)


def test_a_peer_without_figures_is_a_line_that_says_why():
    peers = {
        "edgekit": row("int8", "", [1.0] * 6),
        "other": {"precision": "int8", "ours": "edgekit", "unavailable": "building it takes c++"},
    }
    lines = drawn(result(peers))
    assert "- **other: no figures here.** building it takes c++" in lines
    assert not any("edgekit / other" in line for line in lines)


def test_a_decoder_is_given_in_tokens_a_second():
    peers = {
        name: {
            "precision": "int4", "ours": ours, "size_bytes": 4e8, "notes": [], "peak_mb": [900.0], "load_s": [1.0],
            "prefill_ms": [prefill] * 6, "token_ms": [[token, token, 50.0]] * 6,
        }
        for name, ours, prefill, token in (("edgekit int4", "", 500.0, 20.0), ("other", "edgekit int4", 250.0, 10.0))
    }  # fmt: skip
    lines = drawn(result(peers, of="decoder"))
    assert any("| edgekit int4 | 256 [256, 256] | 50.00 [50.00, 50.00] | 20.00" in line for line in lines)
    assert "| edgekit int4 / other | 2.00 [2.00, 2.00] | 2.00 [2.00, 2.00] |" in lines
