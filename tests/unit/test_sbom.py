"""The bill of materials is valid CycloneDX, says what was measured, and repeats to the byte."""

import copy
import dataclasses
import json
import re

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.stages.sbom import SBOM, bill_of_materials

from .shown_bundle import shown_evidence, write_shown_bundle


@pytest.fixture
def manifest(tmp_path):
    write_shown_bundle(tmp_path / "bundle", shown_evidence())
    return Bundle.open(tmp_path / "bundle").manifest


def schema_errors(data):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode())


def test_the_official_schema_accepts_it(manifest):
    data = bill_of_materials(manifest, shown_evidence())
    assert schema_errors(data) is None
    broken = data.replace(b'"machine-learning-model"', b'"machine"')
    assert schema_errors(broken) is not None


def test_the_reference_library_reads_it(manifest):
    from cyclonedx.model.bom import Bom

    bom = Bom.from_json(json.loads(bill_of_materials(manifest, shown_evidence())))
    assert bom.metadata.component.name == "minilm"
    assert {str(component.type) for component in bom.components} >= {"ComponentType.DATA", "ComponentType.FILE"}


def test_it_holds_source_licence_data_and_every_file(manifest):
    bill = json.loads(bill_of_materials(manifest, shown_evidence()))
    model = bill["metadata"]["component"]
    (origin,) = model["pedigree"]["ancestors"]
    assert (origin["name"], origin["version"]) == (manifest.source.name, manifest.source.revision)
    assert origin["hashes"] == [{"alg": "SHA-256", "content": manifest.source.weights_sha256}]
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    by_name = {component["name"]: component for component in bill["components"]}
    assert by_name["builtin-en-1"]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    for entry in manifest.files:
        assert by_name[entry.path]["hashes"] == [{"alg": "SHA-256", "content": entry.sha256}]


def test_it_holds_the_measured_parity_of_every_variant(manifest):
    evidence = shown_evidence()
    bill = json.loads(bill_of_materials(manifest, evidence))
    card = bill["metadata"]["component"]["modelCard"]
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    assert len(metrics) == sum(len(variant["parity"]["checks"]) for variant in evidence["variants"])
    assert metrics[0] == {
        "type": "mean cosine",
        "value": "0.997231",
        "slice": "int8-vnni: holds against 0.99",
        "confidenceInterval": {"lowerBound": "0.997231", "upperBound": "0.997593"},
    }
    assert card["considerations"]["technicalLimitations"] == evidence["doubts"]
    assert card["modelParameters"]["task"] == manifest.task


def test_the_same_bundle_gives_the_same_bytes_and_another_another_serial_number(manifest):
    first = bill_of_materials(manifest, shown_evidence())
    assert first == bill_of_materials(copy.deepcopy(manifest), shown_evidence())
    other = bill_of_materials(dataclasses.replace(manifest, release=8), shown_evidence())
    serials = [json.loads(data)["serialNumber"] for data in (first, other)]
    assert serials[0] != serials[1]
    assert all(
        re.fullmatch(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", serial)
        for serial in serials
    )
    assert b"timestamp" not in first


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mit", {"id": "MIT"}),
        ("cc-by-sa-4.0", {"id": "CC-BY-SA-4.0"}),
        ("llama3", {"name": "llama3"}),
        ("unknown", {"name": "unknown"}),
    ],
)
def test_licences_are_spdx_where_they_are_and_names_elsewhere(manifest, name, expected):
    changed = dataclasses.replace(manifest, source=dataclasses.replace(manifest.source, license=name))
    data = bill_of_materials(changed, shown_evidence())
    assert schema_errors(data) is None
    assert json.loads(data)["metadata"]["component"]["licenses"] == [{"license": expected}]


def test_every_licence_known_here_is_one_of_the_schema(manifest):
    from edgekit.stages.sbom import _SPDX

    for name in _SPDX:
        changed = dataclasses.replace(manifest, source=dataclasses.replace(manifest.source, license=name))
        assert schema_errors(bill_of_materials(changed, shown_evidence())) is None, name


def test_an_interval_without_an_end_and_data_without_a_digest_are_left_out(manifest):
    evidence = shown_evidence()
    evidence["variants"][0]["parity"]["checks"][0]["interval"]["low"] = float("-inf")
    evidence["data"]["sha256"] = ""
    evidence["doubts"] = []
    data = bill_of_materials(manifest, evidence)
    assert schema_errors(data) is None
    assert b"inf" not in data.lower().replace(b"inference", b"")
    assert SBOM == "sbom.cdx.json"
