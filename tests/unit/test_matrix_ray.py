"""A matrix of played jobs on a real Ray cluster of several nodes on this machine."""

import contextlib
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from edgekit.matrix.keys import node_place

from . import played_jobs
from .matrix_cases import CELLS, Case, later

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
STARTS = 3  # of a node
PATIENCE_S = 90


@pytest.fixture(scope="module")
def cluster():
    """A head and two nodes with an Arm device each, as far as Ray knows."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DASHBOARD_STARTUP_TIMEOUT_S"] = "240"
    from ray._private import services
    from ray.cluster_utils import Cluster

    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(services, "get_node", patient(services.get_node))
    made = Cluster()
    try:
        add_node(made, include_dashboard=False, _system_config={"agent_register_timeout_ms": 300_000})
        made.devices = [add_node(made, resources={"arm64": 1}) for _ in range(2)]
        yield made
    finally:
        made.shutdown()
        monkeypatch.undo()


def add_node(cluster, **more):
    for attempt in range(STARTS):
        try:
            return cluster.add_node(num_cpus=1, object_store_memory=80 << 20, **free_ports(), **more)
        except Exception:
            if attempt == STARTS - 1:
                raise
            if not cluster.list_all_nodes():
                end_children()
    raise AssertionError


def patient(get_node):
    """Ray gives a node 30 seconds to come up, too little where CPUs are busy, and asks for it with this until then."""

    def ask(*arguments):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    return ask


def free_ports():
    """For the agents of a node: Ray waits 15 seconds for them to choose theirs, too little where CPUs are busy."""
    names = ("dashboard_agent_listen_port", "metrics_agent_port", "runtime_env_agent_port")
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in names]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return {name: probe.getsockname()[1] for name, probe in zip(names, probes, strict=True)}


def end_children():
    """End what a head that did not come up has left."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"/ray/" in (place / "cmdline").read_bytes():
                os.kill(int(place.name), signal.SIGKILL)
        except OSError:
            continue


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def when_it_hangs(case, job, what):
    """Do something with the process of a job once it has begun, and let its next attempt go on."""
    hanging = case.play(job, "hangs")

    def look():
        begun = [entry for entry in played_jobs.log(case.plays) if entry["job"] == job]
        if not begun:
            later(0.1, look)
            return
        what(begun[-1]["pid"])
        hanging.unlink()

    later(0.1, look)


def test_a_worker_killed_in_the_middle_changes_nothing_and_devices_do_their_own_cells(cluster, case, tmp_path_factory):
    alone = Case(tmp_path_factory.mktemp("alone"))
    alone.run(SPEC)
    killed = []

    def kill(pid):
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    when_it_hangs(case, CELLS[2], kill)
    nowhere = "[targets.riscv]\ntargets = ['arm64-neon']\nresources = { riscv = 1 }\n"
    report = case.on_ray(cluster.address, SPEC + nowhere)
    verdicts = {one.cell.spec.name: one.verdict for one in report.cells}
    assert verdicts == dict.fromkeys(CELLS, "pass") | {
        f"{model}/riscv/{recipe}": "host" for model in ("one", "two") for recipe in ("climb", "fp32")
    }
    assert report.exit_code == 8
    assert case.files() == alone.files()
    begun = [entry["pid"] for entry in played_jobs.log(case.plays) if entry["job"] == CELLS[2]]
    assert begun[0] == killed[0] != begun[-1]
    (case.plays / "log").unlink()
    again = case.on_ray("127.0.0.1:1", SPEC)  # everything is in the cache: no cluster is asked
    assert all(one.outcome.cached for one in again.cells)
    assert played_jobs.log(case.plays) == []
    assert json.loads((case.output / "matrix.json").read_text())["cached"] == len(CELLS)


def test_a_device_is_no_other_place_than_another_of_its_kind():
    assert node_place({"arm64": 1}) == node_place({"arm64": 1}) != node_place({})
