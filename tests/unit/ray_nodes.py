"""A Ray cluster of several nodes on this machine, started however busy its CPUs are, and ways to lose one."""

import contextlib
import inspect
import os
import signal
import socket
import time
from pathlib import Path

import pytest

STARTS = 3  # of a node
PATIENCE_S = 90
SYSTEM = {
    "agent_register_timeout_ms": 300_000,
    "worker_register_timeout_seconds": 300,
    "worker_niceness": 0,  # Ray's workers would give way to whatever else runs
}
AGENT_PORTS = ("dashboard_agent_listen_port", "metrics_agent_port", "metrics_export_port", "runtime_env_agent_port")


@contextlib.contextmanager
def cluster_of_one():
    """A cluster of a head; :func:`add_node` adds to it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DASHBOARD_STARTUP_TIMEOUT_S"] = "240"
    from ray._private import services
    from ray.cluster_utils import Cluster

    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(services, "get_node", patient(services.get_node))
    monkeypatch.setattr(services, "start_raylet", with_ports_told(services.start_raylet))
    made = Cluster()
    try:
        add_node(made, include_dashboard=False, no_monitor=True, _system_config=SYSTEM)
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


def with_ports_told(start_raylet):
    """A raylet gives its agents 15 seconds to say their ports, too little where CPUs are busy: say them before."""
    from ray import _raylet

    names = {
        _raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME: "dashboard_agent_listen_port",
        _raylet.METRICS_AGENT_PORT_NAME: "metrics_agent_port",
        _raylet.METRICS_EXPORT_PORT_NAME: "metrics_export_port",
        _raylet.RUNTIME_ENV_AGENT_PORT_NAME: "runtime_env_agent_port",
    }

    def start(*arguments, **more):
        asked = inspect.signature(start_raylet).bind(*arguments, **more).arguments
        for name, argument in names.items():
            _raylet.persist_port(asked["session_dir"], asked["node_id"], name, asked[argument])
        return start_raylet(*arguments, **more)

    return start


def free_ports():
    """For the agents of a node."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in AGENT_PORTS]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return {name: probe.getsockname()[1] for name, probe in zip(AGENT_PORTS, probes, strict=True)}


def end_children():
    """End what a head that did not come up has left."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(_stat(place.name)[1])
            if parent == os.getpid() and b"/ray/" in (place / "cmdline").read_bytes():
                os.kill(int(place.name), signal.SIGKILL)
        except OSError:
            continue


def lose(cluster, pid):
    """End the node of a worker as a power cut does: its raylet, and with that its objects and all its workers."""
    node = node_of(cluster, pid)
    (raylet,) = node.all_processes["raylet"]
    os.kill(raylet.process.pid, signal.SIGKILL)
    raylet.process.wait(PATIENCE_S)  # a worker looks whether its parent lives, and what nobody waited for does
    wait_for(lambda: not _lives(pid))


def node_of(cluster, pid):
    """The node whose worker a process is."""
    parent = int(_stat(pid)[1])
    (found,) = (one for one in cluster.list_all_nodes() if one.all_processes["raylet"][0].process.pid == parent)
    return found


def wait_for(what, seconds=PATIENCE_S):
    """Until something holds.

    Raises:
        TimeoutError: It never did.
    """
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)
    return found


def _lives(pid):
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def _stat(pid):
    """State, parent and more of a process."""
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
