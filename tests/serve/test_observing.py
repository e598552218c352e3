"""What the service tells about itself: metrics, log lines, its OpenAPI document and the page made of it."""

import json
import logging
import re
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgekit.serve.observing import LOGGER, JsonLines

from .services import running


def metrics(service):
    """Samples by name and labels, read by the parser that Prometheus publishes."""
    text = service.client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_what_happened(bundles):
    with running({"e": bundles["feature-extraction"]}) as service:
        for body in ({"inputs": "word1"}, {"inputs": ["word1", "word2"]}, {"inputs": 3}):
            service.post("embed", body)
        service.client.get("/nothing/there")
        found = metrics(service)
    count = "edgekit_requests_total"
    assert found[count, (("model", "e"), ("route", "/v1/embed"), ("status", "200"))] == 2
    assert found[count, (("model", ""), ("route", "/v1/embed"), ("status", "422"))] == 1
    assert found[count, (("model", ""), ("route", "other"), ("status", "404"))] == 1  # no label for every path tried
    assert found["edgekit_refused_total", (("kind", "input"),)] == 1
    assert found["edgekit_request_seconds_count", (("route", "/v1/embed"),)] == 3
    assert found["edgekit_call_inputs_sum", (("model", "e"),)] == 3
    assert found["edgekit_call_seconds_count", (("model", "e"),)] == 2
    assert found["edgekit_requests_in_flight", ()] == 1  # the one that asks
    assert found["edgekit_requests_waiting", (("model", "e"),)] == 0
    (info,) = [dict(labels) for (name, labels), _ in found.items() if name == "edgekit_bundle_info"]
    assert (info["name"], info["bundle"], info["task"], info["signature"]) == (
        "e",
        "tiny",
        "feature-extraction",
        "unchecked",
    )


def test_the_log_is_json_lines_with_the_requests_id_and_without_its_text(bundles):
    lines = []
    handler = logging.Handler()
    handler.setFormatter(JsonLines())
    handler.emit = lambda record: lines.append(handler.format(record))
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with running({"e": bundles["feature-extraction"]}, access_log=True) as service:
            named = service.post("embed", {"inputs": "word1 secret"}, headers={"x-request-id": "mine-1"})
            bad = service.post("embed", {"inputs": 3}, headers={"x-request-id": 'mine"\n{'.replace("\n", "")})
            service.client.get("/health")
    finally:
        logger.removeHandler(handler)
    found = [json.loads(line) for line in lines]
    assert [line["event"] for line in found] == ["request", "request"]  # who watches is not logged
    first, second = found
    assert first["request_id"] == named.headers["x-request-id"] == "mine-1"
    assert (first["method"], first["path"], first["status"], first["model"]) == ("POST", "/v1/embed", 200, "e")
    assert first["bytes_sent"] == len(named.content)
    assert first["ms"] > 0
    assert second["request_id"] == bad.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{16}", second["request_id"])  # an id that is none is not taken over
    assert (second["status"], second["failure"]) == (422, "input")
    assert not any("secret" in line for line in lines)


def test_health_and_readiness(service):
    assert service.client.get("/health").json() == {"status": "ok"}
    assert service.client.get("/ready").json() == {"status": "ready"}


def test_a_service_whose_worker_is_gone_is_not_healthy(bundles):
    with running({"e": bundles["feature-extraction"]}) as service:
        service.lane("e").close()
        assert service.client.get("/health").status_code == 503
        assert service.client.get("/ready").status_code == 503
        assert service.post("embed", {"inputs": "word1"}).status_code == 503


def test_openapi_has_a_route_for_every_task_and_no_reference_to_nothing(service):
    document = service.client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    routes = {path for one in service.service.served for path in (route.path for route in one.routes)}
    assert routes <= set(document["paths"])
    references = set(re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(document)))
    assert references
    for reference in references:
        prefix, _, name = reference.rpartition("/")
        assert prefix == "#/components/schemas"
        assert name in document["components"]["schemas"]


def test_every_example_of_a_text_route_is_answered(service):
    document = service.client.get("/openapi.json").json()
    tried = 0
    for path, ways in document["paths"].items():
        content = ways.get("post", {}).get("requestBody", {}).get("content", {})
        if not content or "multipart/form-data" in content:
            continue
        response = service.client.post(path, json=content["application/json"]["example"])
        short = "leaves no room" in response.text  # the tiny models' texts are
        assert short or response.status_code == 200, (path, response.text)
        tried += 1
    assert tried >= 9


def test_the_page_needs_no_network_and_no_script(service):
    response = service.client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in response.text
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", response.text)
    for one in service.service.served:
        for route in one.routes:
            assert route.path in response.text


CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)


def test_no_request_that_the_document_allows_or_forbids_makes_the_service_fail(service, tmp_path):
    fuzz(service, tmp_path, "--phases", "examples,fuzzing", "--max-examples", "8", "--seed", "1")


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3])
def test_no_request_makes_the_service_fail_however_many_are_tried(service, tmp_path, seed):
    phases = "examples,coverage,fuzzing"
    fuzz(service, tmp_path, "--phases", phases, "--max-examples", "200", "--seed", str(seed), "--continue-on-failure")


def fuzz(service, folder, *options):
    """Schemathesis against every route: each answer's status, type and shape must be one that the document names."""
    url = f"http://127.0.0.1:{service.port}/openapi.json"
    command = [sys.executable, "-m", "schemathesis.cli", "run", url, "--checks", ",".join(CHECKS), "--warnings", "off"]
    done = subprocess.run([*command, "--no-color", *options], check=False, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " failed" not in done.stdout
    assert "Tested: 20" in done.stdout
    assert service.client.get("/health").status_code == 200
