"""Runs in a real MLflow: what is logged, how the best is found, what happens without one.

``make test`` logs into a file of MLflow's own, ``make test-all`` to a server on loopback too, which starts slowly.
"""

import contextlib
import copy
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.errors import ParityError, RegistryError
from edgekit.tracking import entries
from edgekit.tracking.server import FINISHED, Tracker

# ruff: noqa: TID252 - tests are no installed package
from ..unit.matrix_cases import Case, play_processes
from ..unit.shown_bundle import shown_evidence, write_shown_bundle

pytestmark = pytest.mark.filterwarnings("ignore")  # mlflow's own, of what it imports
START_S = 600  # seconds on an idle machine


@pytest.fixture(scope="module", params=["file", pytest.param("server", marks=pytest.mark.long)])
def server(request, tmp_path_factory):
    """The URI of what runs are logged to."""
    if request.param == "server":
        yield request.getfixturevalue("started")
        return
    folder = tmp_path_factory.mktemp("mlflow")
    with contextlib.chdir(folder):  # MLflow puts artifacts beside, into the folder it runs in
        yield f"sqlite:///{folder / 'db.sqlite'}"


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The URI of a server with a sqlite store, which hands artifacts on."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        Path(sys.executable).with_name("mlflow"), "server", "--backend-store-uri", f"sqlite:///{folder / 'db.sqlite'}",
        "--artifacts-destination", folder / "artifacts", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    uri = f"http://127.0.0.1:{port}"
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            answering(process, f"{uri}/api/2.0/mlflow/experiments/get?experiment_id=0", folder / "log")
            yield uri
        finally:
            os.killpg(process.pid, 15)
            process.wait(60)


def answering(process, url, log):
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            # The first question makes the tables, which takes minutes where CPUs are busy.
            with urllib.request.urlopen(url, timeout=START_S):  # noqa: S310 - made above
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def client(server):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server)


@pytest.fixture
def bundle(tmp_path):
    """Makes a bundle of a given agreement and size."""

    def make(name, agreement=0.95, size=22_900_000):
        evidence = copy.deepcopy(shown_evidence())
        for variant in evidence["variants"]:
            variant["size_bytes"] = size
            for check in variant["parity"]["checks"]:
                if check["name"] == "nearest-neighbour agreement":
                    check["interval"]["estimate"] = agreement
        write_shown_bundle(tmp_path / name, evidence)
        return tmp_path / name

    return make


def runs(client, experiment, **asked):
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id], **asked)


def artifacts(client, run, folder=None):
    return {item.path for item in client.list_artifacts(run.info.run_id, folder)}


def test_a_build_is_a_run_with_its_parameters_its_evidence_and_its_digest(server, client, bundle):
    path = bundle("minilm")
    Tracker(server, "one").log(entries.of_bundle("minilm", {"model": "minilm", "data": "mine.jsonl"}, path))
    (run,) = runs(client, "one")
    assert run.info.status == FINISHED
    assert run.info.run_name == "minilm"
    assert run.data.params["model"] == "minilm"
    assert run.data.params["source_revision"] == "0123abc"
    assert run.data.params["shipped"] == "int8-dynamic+smooth, int8-dynamic+smooth+reduced-range"
    assert run.data.metrics["agreement"] == pytest.approx(0.95)
    assert run.data.metrics["int8-vnni/mean_cosine"] == pytest.approx(0.997412)
    assert run.data.metrics["size_bytes"] == sum(entry.size for entry in Bundle.open(path).manifest.files)
    assert run.data.tags["edgekit.verdict"] == "pass"
    assert run.data.tags["edgekit.manifest_sha256"] == Bundle.open(path).manifest_sha256
    assert artifacts(client, run) == {"edgekit.json", "evidence"}


def test_the_best_of_several_is_found_and_its_bundle_got_back_whole(server, client, bundle, tmp_path):
    tracker = Tracker(server, "best", log_bundle=True)
    parent = tracker.begin("matrix", {"cells": "4"})
    for name, agreement in (("small", 0.91), ("close", 0.99), ("middle", 0.96)):
        tracker.log(entries.of_bundle(name, {"model": name}, bundle(name, agreement)), parent=parent)
    tracker.log(entries.of_error("far", {"model": "far"}, ParityError("too far off"), None), parent=parent)
    tracker.end(parent, FINISHED, {"good": 3, "failed": 1})
    cells = f"tags.`mlflow.parentRunId` = '{parent}'"
    assert len(runs(client, "best", filter_string=cells)) == 4
    good = f"{cells} and tags.`edgekit.verdict` = 'pass' and metrics.agreement >= 0.95"
    found = runs(client, "best", filter_string=good, order_by=["metrics.agreement DESC"])
    assert [run.info.run_name for run in found] == ["close", "middle"]
    (failed,) = runs(client, "best", filter_string="attributes.status = 'FAILED'")
    assert failed.data.tags["edgekit.error"] == "too far off"
    (tmp_path / "got").mkdir()
    got = client.download_artifacts(found[0].info.run_id, "bundle", str(tmp_path / "got"))
    Bundle.open(Path(got)).verify()
    assert Bundle.open(Path(got)).manifest_sha256 == found[0].data.tags["edgekit.manifest_sha256"]


def test_an_export_that_fails_is_a_failed_run_with_its_evidence_and_its_own_exit_code(server, client, call, played):
    played.failure = ParityError("too far off")
    code, _, err = call(
        "export", "minilm", "-t", "all", "-o", played.output, "--track", server, "--experiment", "fails"
    )
    assert code == 5
    assert "too far off" in err
    (run,) = runs(client, "fails")
    assert run.info.status == "FAILED"
    assert run.data.tags["edgekit.verdict"] == "parity"
    assert run.data.params["model"] == "minilm"
    assert artifacts(client, run, "evidence") == {"evidence/parity.json"}


def test_an_export_prints_one_object_and_no_password(server, client, call, played, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.replace("http://", "http://me:hush@"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "from the environment")
    code, out, err = call("export", "minilm", "-t", "all", "-o", played.output, "--track", "env", "--json")
    assert code == 0
    assert json.loads(out)["bundle"] == str(played.output)
    assert "hush" not in out + err
    (run,) = runs(client, "from the environment")
    assert run.info.run_name == "minilm"
    assert not any("hush" in value for value in (*run.data.params.values(), *run.data.tags.values()))


@pytest.fixture
def played(monkeypatch, tmp_path):
    """A pipeline that makes the shown bundle, or leaves evidence and fails."""
    from edgekit import pipeline

    class Played:
        failure = None
        output = tmp_path / "out" / "minilm"

    def build(request, _progress):
        request.output.parent.mkdir(parents=True)
        if Played.failure:
            evidence = request.output.with_name("minilm.evidence")
            evidence.mkdir()
            (evidence / "parity.json").write_text("{}")
            raise Played.failure
        manifest = write_shown_bundle(request.output, shown_evidence())
        return pipeline.BuildResult(request.output, manifest, shown_evidence())

    monkeypatch.setattr(pipeline, "build", build)
    return Played


def test_cells_are_runs_inside_their_matrix(server, client, call, tmp_path, monkeypatch):
    play_processes(monkeypatch)
    case = Case(tmp_path)
    case.play("one/arm64-neon/fp32", "parity")
    spec = tmp_path / "nightly.toml"
    spec.write_text('models = ["one"]\ntargets = ["arm64-neon"]\nrecipes = ["climb", "fp32"]\n')
    places = ("-o", case.output, "--cache", case.cache, "--token", case.plays)
    assert call("matrix", spec, *places, "--track", server, "--experiment", "cells", "--json")[0] == 5
    (whole,) = runs(client, "cells", filter_string="tags.`edgekit.matrix` = 'nightly'")
    assert (whole.info.status, whole.data.metrics["good"], whole.data.metrics["failed"]) == ("FAILED", 1, 1)
    assert artifacts(client, whole) == {"matrix.json", "matrix.md"}
    inside = runs(client, "cells", filter_string=f"tags.`mlflow.parentRunId` = '{whole.info.run_id}'")
    assert {run.info.run_name: run.info.status for run in inside} == {
        "one/arm64-neon/climb": "FINISHED",
        "one/arm64-neon/fp32": "FAILED",
    }
    assert {run.data.params["cell.recipe"] for run in inside} == {"climb", "fp32"}
    assert not any(str(case.plays) in value for run in inside for value in run.data.params.values())  # the token


def test_a_variable_alone_logs_nothing(server, client, call, played, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "nobody asked")
    assert call("export", "minilm", "-t", "all", "-o", played.output, "--json")[0] == 0
    assert client.get_experiment_by_name("nobody asked") is None


def test_a_server_that_is_not_there_ends_before_anything_is_built(call, played, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, _, err = call("export", "minilm", "-t", "all", "-o", played.output, "--track", "http://me:hush@127.0.0.1:9")
    assert code == 3
    assert err.startswith("error[registry]: http://127.0.0.1:9: MLflow cannot open the experiment")
    assert "hush" not in err
    assert not played.output.parent.exists()


def test_a_server_that_stops_in_the_middle_is_one_typed_error(server, bundle, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = Tracker(server, "stops")
    monkeypatch.setattr(tracker, "_client", type(tracker._client)(tracking_uri="http://127.0.0.1:9"))
    with pytest.raises(RegistryError, match="cannot begin a run"):
        tracker.log(entries.of_bundle("minilm", {}, bundle("minilm")))
