"""A matrix of played jobs on a real Ray cluster of several nodes on this machine, some of which are lost."""

import json
import os
import signal

import pytest

from edgekit.matrix import keys
from edgekit.matrix.cache import Cache
from edgekit.matrix.keys import node_place
from edgekit.matrix.work import Job

from . import played_jobs
from .matrix_cases import CELLS, Case, later
from .ray_nodes import add_node, cluster_of_one, lose, wait_for

pytestmark = [
    pytest.mark.long,  # three nodes on two busy cores take minutes to start, and Ray gives up on one after 30 seconds
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of its sockets and its future
]
SPEC = """
models = ["one", "two"]
recipes = ["climb", "fp32"]
[targets.x86_64-avx2]
[targets.arm64-neon]
resources = { arm64 = 1 }
"""
BOARD = "[targets.board]\ntargets = ['arm64-neon']\nresources = { board = 1 }\n"
LOSS_S = 480  # in which a worker starts or a loss is found out, however busy the CPUs


@pytest.fixture(scope="module")
def cluster():
    """A head and two nodes with an Arm device each, as far as Ray knows."""
    with cluster_of_one() as made:
        for _ in range(2):
            add_node(made, resources={"arm64": 1})
        yield made


@pytest.fixture
def add(cluster):
    """Adds nodes for one test."""
    added = []

    def one(**more):
        added.append(add_node(cluster, **more))

    yield one
    for node in added:
        cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The files that the matrix has when processes of this machine make it."""
    case = Case(tmp_path_factory.mktemp("alone"))
    case.run(SPEC)
    return case.files()


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def when_they_hang(case, jobs, what):
    """Do something with the process of the first of some jobs that has begun, and let their next attempts go on."""
    hanging = [case.play(job, "hangs") for job in jobs]

    def look():
        begun = [entry for entry in played_jobs.log(case.plays) if entry["job"] in jobs]
        if not begun:
            later(0.1, look)
            return
        try:
            what(begun[-1]["pid"])
        finally:
            for path in hanging:
                path.unlink()

    later(0.1, look)


def begun(case, job):
    """Processes that began a job, in order."""
    return [entry["pid"] for entry in played_jobs.log(case.plays) if entry["job"] == job]


def verdicts(report):
    return {one.cell.spec.name: one.verdict for one in report.cells}


def failure(report, name):
    (found,) = (one.outcome.failure for one in report.cells if one.cell.spec.name == name)
    return found


def test_a_worker_killed_in_the_middle_changes_nothing_and_devices_do_their_own_cells(cluster, case, alone):
    killed = []

    def kill(pid):
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    when_they_hang(case, [CELLS[2]], kill)
    nowhere = "[targets.riscv]\ntargets = ['arm64-neon']\nresources = { riscv = 1 }\n"
    report = case.on_ray(cluster.address, SPEC + nowhere)
    assert verdicts(report) == dict.fromkeys(CELLS, "pass") | {
        f"{model}/riscv/{recipe}": "host" for model in ("one", "two") for recipe in ("climb", "fp32")
    }
    assert report.exit_code == 8
    assert case.files() == alone
    attempts = begun(case, CELLS[2])
    assert attempts[0] == killed[0] != attempts[-1]
    (case.plays / "log").unlink()
    again = case.on_ray("127.0.0.1:1", SPEC)  # everything is in the cache: no cluster is asked
    assert all(one.outcome.cached for one in again.cells)
    assert played_jobs.log(case.plays) == []
    assert json.loads((case.output / "matrix.json").read_text())["cached"] == len(CELLS)


def test_a_job_that_raises_is_done_once_and_one_that_dies_four_times(cluster, case):
    case.play(CELLS[0], "raises")
    case.play(CELLS[1], "dies")
    report = case.on_ray(cluster.address, SPEC)
    assert verdicts(report) == dict.fromkeys(CELLS, "pass") | {CELLS[0]: "crash", CELLS[1]: "crash"}
    assert failure(report, CELLS[0]).message == "its process failed: RuntimeError: nobody foresaw this"
    assert len(begun(case, CELLS[0])) == 1
    assert "died 4 times" in failure(report, CELLS[1]).message
    assert len(begun(case, CELLS[1])) == 4


def test_cells_whose_only_node_is_lost_say_so_and_the_rest_goes_on(cluster, case, alone, add):
    add(resources={"board": 1})
    boards = [f"{model}/board/{recipe}" for model in ("one", "two") for recipe in ("climb", "fp32")]
    when_they_hang(case, boards, lambda pid: lose(cluster, pid))
    report = case.on_ray(cluster.address, SPEC + BOARD)
    assert verdicts(report) == dict.fromkeys(CELLS, "pass") | dict.fromkeys(boards, "host")
    assert report.exit_code == 8
    assert sum(len(begun(case, name)) for name in boards) == 1
    assert any("no node of the cluster offers board: 1 any longer" in failure(report, name).message for name in boards)
    assert case.files() == alone
    add(resources={"board": 1})  # as the message says
    again = case.on_ray(cluster.address, SPEC + BOARD)
    assert verdicts(again) == dict.fromkeys(CELLS + boards, "pass")
    assert {one.cell.spec.name for one in again.cells if one.outcome.cached} == set(CELLS)


def test_a_cell_of_a_lost_node_is_done_on_one_with_less_memory_than_it_is_said_to_take(cluster, case, add):
    add(resources={"board": 1}, memory=4_000_000_000)
    add(resources={"board": 1}, memory=1_000_000_000)
    spec = "recipes = ['climb']\n[models.one]\nsource = 'one'\nmemory_mb = 2000\n" + BOARD
    when_they_hang(case, ["one/board/climb"], lambda pid: lose(cluster, pid))
    assert verdicts(case.on_ray(cluster.address, spec)) == {"one/board/climb": "pass"}
    assert len(begun(case, "one/board/climb")) == 2


def test_a_cell_that_finds_too_little_memory_is_not_begun_for_ever(cluster, case, add, monkeypatch):
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")  # of this node: more of its memory than that is in use
    add(resources={"board": 1})
    case.play("one/board/climb", "hangs")
    report = case.on_ray(cluster.address, "models = ['one']\nrecipes = ['climb']\n" + BOARD)
    assert verdicts(report) == {"one/board/climb": "budget"}
    assert report.exit_code == 6
    assert len(begun(case, "one/board/climb")) <= 4


def test_an_export_that_a_lost_node_alone_held_is_made_again(cluster, case, add):
    import ray

    from edgekit.matrix.on_ray import RayCluster

    for _ in range(2):
        add(resources={"store": 1})
    request = case.planned(SPEC)[0].request
    job = Job("one: the original", keys.ORIGINAL, request, "", {}, memory_bytes=1, resources={"store": 1})
    case.play(job.name, "bulky")  # small results travel with the news that they are there
    with RayCluster(cluster.address, 1, Cache(case.cache), played_jobs.perform) as engine:
        engine.submit(job, None)
        there, _ = ray.wait(list(engine._sent), timeout=LOSS_S, fetch_local=False)
        assert there
        lose(cluster, begun(case, job.name)[0])
        done = wait_for(lambda: engine.wait(1), LOSS_S)
    assert done.outcome.failure is None
    assert (done.folder / "graphs" / "model.onnx").read_bytes() == b"graph of one"
    assert (done.folder / "graphs" / "weights").stat().st_size == played_jobs.BULKY_BYTES
    assert len(set(begun(case, job.name))) == 2


def test_a_node_lost_in_the_middle_changes_nothing(cluster, case, alone):
    lost = []

    def lose_it(pid):
        lose(cluster, pid)
        lost.append(pid)

    when_they_hang(case, [CELLS[2]], lose_it)
    report = case.on_ray(cluster.address, SPEC)
    assert verdicts(report) == dict.fromkeys(CELLS, "pass")
    assert case.files() == alone
    attempts = begun(case, CELLS[2])
    assert attempts[0] == lost[0] != attempts[-1]


def test_a_device_is_no_other_place_than_another_of_its_kind():
    assert node_place({"arm64": 1}) == node_place({"arm64": 1}) != node_place({})
