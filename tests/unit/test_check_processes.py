import sys
import time

import pytest

from edgekit.checks import processes
from edgekit.checks.processes import Process, ask_once, opening
from edgekit.errors import HostError, IntegrityError

from .tiny_generator import write_generator
from .tiny_model import FOLDER, write_tiny_model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture
def child(monkeypatch, tmp_path):
    """Runs a script in the child's place."""

    def use(script):
        path = tmp_path / "child"
        path.write_text(f"#!{sys.executable}\n{script}")
        path.chmod(0o755)
        monkeypatch.setattr(processes.sys, "executable", str(path))

    return use


def test_the_graph_is_counted_as_it_lies_there_and_as_it_runs(bundle):
    (graph,) = ask_once(opening("graph", bundle, "plain", threads=1)).values()
    assert graph["file"] == {"ai.onnx.Mul": 2, "ai.onnx.Gather": 1, "ai.onnx.Cast": 1, "ai.onnx.Unsqueeze": 1}
    assert graph["optimized"]["ai.onnx.Mul"] == 1  # the table's scale is folded
    assert set(graph["placement"]) == {"CPUExecutionProvider"}


def test_a_start_tells_its_own_memory_and_not_that_of_who_started_it(bundle):
    ballast = bytearray(600_000_000)
    ballast[::4096] = b"x" * len(ballast[::4096])
    start = ask_once(opening("start", bundle, "plain", (bundle, bundle), threads=1))
    if start["peak_bytes"] is None:
        pytest.skip("this system does not tell")
    assert 20e6 < start["peak_bytes"] < 400e6
    assert start["heap_bytes"] is None or 1e6 < start["heap_bytes"] < start["peak_bytes"]


def test_bursts_are_as_long_as_asked(bundle):
    with Process(opening("time", bundle, "plain", (bundle, bundle), threads=1)) as process:
        assert set(process.ask({"do": "warm up", "clock": "wall"})) == {"1 x 16 tokens"}
        durations = process.ask({"do": "burst", "calls": {"1 x 16 tokens": 5}, "clock": "cpu"})
    assert len(durations["1 x 16 tokens"]) == 5


def test_generation_is_timed_by_what_it_reads_and_writes(tmp_path):
    bundle = write_generator(tmp_path / "bundle", max_positions=16)
    with Process(opening("time", bundle, "plain", (bundle, bundle), threads=1)) as process:
        (name,) = process.ask({"do": "warm up", "clock": "wall"})
        durations = process.ask({"do": "burst", "calls": {name: 2}, "clock": "wall"})
    assert name == "8 tokens and 8 more"
    assert {what: len(values) for what, values in durations.items()} == {"8 tokens read": 2, "a token written": 10}


def test_what_goes_wrong_there_is_raised_here(bundle, tmp_path):
    broken = write_tiny_model(tmp_path / "broken")
    (broken / FOLDER / "model.onnx.data").write_bytes(b"\0" * 2048)
    with pytest.raises(IntegrityError, match="sha256"):
        ask_once(opening("graph", broken, "plain", threads=1))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import os; os.kill(os.getpid(), 11)", "ended by signal 11"),
        ("import sys; sys.exit('no library')", "code 1: no library"),
    ],
)
def test_a_process_that_dies_is_said(child, bundle, script, said):
    child(script)
    with pytest.raises(HostError, match=said):
        Process(opening("time", bundle, "plain", threads=1))


def test_a_process_that_hangs_is_ended(child, bundle):
    child("import time; time.sleep(60)")
    began = time.monotonic()
    with pytest.raises(HostError, match="no answer in 2 s"):
        Process(opening("time", bundle, "plain", threads=1), reply_s=2)
    assert time.monotonic() - began < 20
