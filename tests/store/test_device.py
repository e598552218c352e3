"""A device: real bundles, the real self-test in a child process, load by name, the command line."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle.reading import Bundle
from edgekit.bundle.store.collecting import collect
from edgekit.bundle.store.store import Store
from edgekit.cli import main
from edgekit.errors import EdgekitError, HostError, IntegrityError, OutputError, ParityError, UsageError
from edgekit.runtime import installing, limited_child, load, pipeline, trying
from edgekit.runtime.golden import Golden, write_golden
from edgekit.runtime.host import Host
from edgekit.runtime.installing import check_fit, install, prove
from edgekit.runtime.memory import available_bytes
from edgekit.runtime.model import SelfTest
from edgekit.spec.user_folders import store_folder

from ..unit.tiny_model import DIMENSION, expected, tiny_manifest, write_tiny_model  # noqa: TID252
from .scenarios import seen

WRONG = [Golden({"text": "word1"}, {"embedding": np.ones(DIMENSION, np.float32)})]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Real bundles by release; the third answers otherwise than its golden cases say."""
    root = tmp_path_factory.mktemp("models")
    wrong = {"golden/cases.json": write_golden("feature-extraction", WRONG)}
    return {
        1: write_tiny_model(root / "1", release=1, version="1.1"),
        2: write_tiny_model(root / "2", release=2, version="1.2"),
        3: write_tiny_model(root / "3", release=3, version="1.3", files=wrong),
    }


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def passing(monkeypatch):
    """No child: for tests of what is around it."""
    monkeypatch.setattr(installing, "try_out", lambda *_, **__: SelfTest(3, 1.0, 0.99, True, 0.1))


def tried(folder, **limits):
    bundle = Bundle.open(folder)
    return trying.try_out(bundle, bundle.manifest.variants[0], **limits)


def put(store, bundle, **options):
    install(Bundle.open(bundle), store, **options)
    return prove(store, "tiny")


def test_installed_tested_in_a_child_and_loaded_by_name(store, models):
    result = put(store, models[1])
    assert (result.cases, result.passed) == (3, True)
    with load("tiny", store=store.root) as model:
        assert np.allclose(model.embed("word1 word2"), expected("word1 word2"), atol=1e-6)
        assert model.self_test().passed
    answers = pipeline("feature-extraction", "tiny", store=store.root)
    assert answers.manifest.version == "1.1"
    answers.close()


def test_wrong_answers_leave_the_old_version_active(store, models):
    put(store, models[1])
    with pytest.raises(ParityError, match="golden cases"):
        put(store, models[3])
    assert seen(store)[:3] == (1, 0, 0)


CRASHES = {
    "crashed": ("import os; os.abort()", "crashed \\(signal 6\\)"),
    "left": ("import sys; sys.exit(3)", "exit code 3 and no answer"),
    "hung": ("import time; time.sleep(600)", "took over 0.5 s"),
    "closed its output and hung": ("import os, time; os.close(1); time.sleep(600)", "crashed \\(signal 9\\)"),
    "said half a word": ("print('{\"cases\"', end='')", "no answer"),
}


@pytest.mark.parametrize("how", CRASHES)
def test_whatever_the_child_does_the_parent_gets_one_error(models, monkeypatch, how):
    script, message = CRASHES[how]
    monkeypatch.setattr(limited_child, "_START", script)
    with pytest.raises(HostError, match=message):
        tried(models[1], time_limit_s=0.5 if how == "hung" else 20)


def test_the_child_may_take_so_much_memory_and_no_more(models):
    with pytest.raises(HostError):
        tried(models[1], memory_limit_bytes=24 << 20)


def test_only_what_runs_on_the_cpu_is_held_to_a_limit_of_memory(models):
    manifest = Bundle.open(models[1]).manifest
    (variant,) = manifest.variants
    weights = sum(entry.size for entry in manifest.files if entry.path.startswith("model/plain/"))
    assert trying.memory_limit(manifest, variant) == (2 << 30) + 4 * weights
    elsewhere = {
        name: dataclasses.replace(target, execution_provider="CUDAExecutionProvider")
        for name, target in manifest.targets.items()
    }
    assert trying.memory_limit(dataclasses.replace(manifest, targets=elsewhere), variant) == 0


def test_the_child_tests_the_very_bundle_that_was_opened(tmp_path):
    bundle = Bundle.open(write_tiny_model(tmp_path / "bundle", version="1.1"))
    write_tiny_model(tmp_path / "bundle", version="1.2")
    with pytest.raises(IntegrityError, match=r"edgekit\.json changed while the bundle was tested"):
        trying.try_out(bundle, bundle.manifest.variants[0], verified=True)


def test_the_child_imports_nothing_from_the_folder_it_stands_in(models, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert tried(models[1]).passed


def test_the_child_ends_with_its_parent(tmp_path):
    script = (
        "import os, sys, threading, time; from edgekit.runtime.limited_child import _follow_parent; "
        "threading.Thread(target=_follow_parent, daemon=True).start(); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, cwd=Path(__file__).parents[2])
    child.stdin.close()  # as the system does when the parent is killed
    assert child.wait(timeout=30) == 1


def test_a_trial_that_crashes_is_tried_three_times_while_the_old_version_answers(store, models, monkeypatch):
    put(store, models[1])
    install(Bundle.open(models[2]), store)
    monkeypatch.setattr(limited_child, "_START", "import os; os.abort()")
    for start in (1, 2, 3):
        load("tiny", store=store.root).close()
        assert seen(store)[:4] == (1, 0, 2, start)
    with load("tiny", store=store.root) as model:
        assert model.manifest.version == "1.1"
    assert seen(store)[:4] == (1, 0, 0, 0)
    assert seen(store)[5] == ((1, "good"), (2, "failed"))


def test_a_trial_that_passes_is_what_load_opens(store, models):
    put(store, models[1])
    install(Bundle.open(models[2]), store)
    with load("tiny", store=store.root) as model:
        assert model.manifest.version == "1.2"
    assert seen(store)[:4] == (2, 1, 0, 0)


def test_a_trial_with_wrong_answers_is_given_up_at_its_first_start(store, models):
    put(store, models[1])
    install(Bundle.open(models[3]), store)
    with load("tiny", store=store.root) as model:
        assert model.manifest.version == "1.1"
    assert seen(store)[:4] == (1, 0, 0, 0)


def test_a_first_version_that_fails_leaves_nothing_to_load_and_says_why(store, models):
    install(Bundle.open(models[3]), store)
    with pytest.raises(ParityError):
        load("tiny", store=store.root)
    with pytest.raises(UsageError, match="no version of it is active"):
        load("tiny", store=store.root)


def test_while_one_program_tests_a_trial_another_gets_the_active_version(store, models, passing):
    put(store, models[1])
    install(Bundle.open(models[2]), store)

    def test(folder):
        with load("tiny", store=store.root) as model:
            assert model.manifest.version == "1.1"

    store.prove("tiny", test)
    assert seen(store)[:4] == (2, 1, 0, 0)


def test_a_model_keeps_its_files_until_it_is_closed(store, models, passing):
    put(store, models[1])
    model = load("tiny", store=store.root)
    put(store, models[2])
    store.roll_back("tiny")
    put(store, models[2])
    put(store, models[1], allow_downgrade=True)
    store.roll_back("tiny")  # now release 1 is in no place
    assert [version.release for _, version in collect(store).in_use] == [1]
    assert model.self_test().passed  # reads the golden cases only now
    model.close()
    assert [version.release for _, version in collect(store).removed] == [1]


def test_want_of_descriptors_in_a_test_is_not_the_version_s_fault(store, models, monkeypatch):
    put(store, models[1])
    install(Bundle.open(models[2]), store)

    def starved(*_, **__):
        raise OutputError("too many open files")

    monkeypatch.setattr(installing, "try_out", starved)
    with pytest.raises(OutputError):
        prove(store, "tiny")
    assert seen(store)[:4] == (1, 0, 2, 1)


def test_a_version_that_rotted_is_not_loaded(store, models, passing):
    put(store, models[1])
    path = store.folder(store.slot("tiny").active) / "model" / "plain" / "model.onnx.data"
    data = bytearray(path.read_bytes())
    data[5] ^= 4
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"model.onnx.data: sha256"):
        load("tiny", store=store.root)


def test_a_manifest_that_was_sealed_anew_is_not_loaded(store, models, passing):
    from edgekit.spec.checksum import seal

    put(store, models[1])
    path = store.folder(store.slot("tiny").active) / "edgekit.json"
    path.write_bytes(seal(path.read_bytes().replace(b'"1.1"', b'"9.9"'), "edgekit.json"))
    with pytest.raises(IntegrityError, match="not the one that was installed"):
        load("tiny", store=store.root)


def test_a_name_is_a_folder_where_there_is_one_and_nothing_of_that_name_is_installed(
    store, models, passing, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("tiny").symlink_to(models[1])
    load("tiny", store=store.root).close()
    put(store, models[2])
    with pytest.raises(UsageError, match="installed bundle, and something of that name"):
        load("tiny", store=store.root)
    with load("./tiny", store=store.root) as model:
        assert model.manifest.version == "1.1"
    with load(Path("tiny"), store=store.root) as model:
        assert model.manifest.version == "1.1"
    with pytest.raises(UsageError, match="is not installed"):
        load("other", store=store.root)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"onnxruntime": ">=99"}, "onnxruntime >=99"), ({"task": "mind-reading"}, "mind-reading")],
)
def test_what_this_edgekit_cannot_run_is_refused_before_anything_is_copied(store, tmp_path, changes, words):
    write_tiny_model(tmp_path / "bundle", **changes)
    with pytest.raises(HostError, match=words) as refused:
        install(Bundle.open(tmp_path / "bundle"), store)
    assert refused.value.exit_code == 8
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (Host("riscv64", frozenset(), "another CPU", "linux"), "another CPU"),
        (Host("x86_64", frozenset({"avx2"}), "an older CPU", "linux"), "needs fma"),
        (Host("x86_64", frozenset({"avx2", "fma"}), "", "linux", frozenset()), "CPUExecutionProvider"),
    ],
)
def test_what_this_host_cannot_run_is_refused_before_anything_is_copied(store, models, monkeypatch, host, words):
    monkeypatch.setattr(installing, "this_host", lambda: host)
    with pytest.raises(HostError, match=words) as refused:
        install(Bundle.open(models[1]), store)
    assert refused.value.exit_code == 8
    assert not store.root.exists()


def test_a_bundle_that_needs_more_memory_than_there_is_is_refused(models):
    manifest = Bundle.open(models[1]).manifest
    assert check_fit(manifest, memory_bytes=1 << 20).name == "plain"
    with pytest.raises(HostError, match="bytes of memory"):
        check_fit(manifest, memory_bytes=1 << 10)
    assert tiny_manifest().variants[0].name == "plain"


def test_memory_is_the_least_of_what_machine_and_cgroup_allow(tmp_path):
    assert available_bytes(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   2048 kB\n")
    assert available_bytes(tmp_path) == 2 << 20
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("1000000\n")
    (group / "memory.current").write_text("700000\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 200000\n")
    assert available_bytes(tmp_path) == 500_000
    (group / "memory.max").write_text("max\n")
    assert available_bytes(tmp_path) == 2 << 20


@pytest.mark.parametrize(
    ("environment", "platform", "folder"),
    [
        ({"EDGEKIT_STORE": "/data/models"}, "linux", "/data/models"),
        ({}, "linux", "/home/u/.local/share/edgekit/store"),
        ({"XDG_DATA_HOME": "/data"}, "linux", "/data/edgekit/store"),
        ({"XDG_DATA_HOME": "relative"}, "linux", "/home/u/.local/share/edgekit/store"),
        ({}, "darwin", "/home/u/Library/Application Support/edgekit/store"),
        ({"LOCALAPPDATA": "/local"}, "win32", "/local/edgekit/store"),
    ],
)
def test_where_the_store_is(environment, platform, folder):
    assert store_folder(environment, platform, Path("/home/u")) == Path(folder)


@pytest.fixture
def call(capsys, monkeypatch, store):
    monkeypatch.setenv("EDGEKIT_STORE", str(store.root))

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_commands_of_a_device(call, models, passing, store):
    assert call("list")[0] == 0
    assert call("install", models[1])[0] == 0
    code, out, _ = call("install", models[2], "--json")
    assert (code, json.loads(out)["active"], json.loads(out)["self_test"]["cases"]) == (0, True, 3)
    code, _, err = call("install", models[1])
    assert code == 7
    assert "--allow-downgrade" in err
    code, out, _ = call("rollback", "tiny")
    assert code == 0
    assert "tiny 1.1 (release 1, unchecked): active again" in out
    assert call("activate", "tiny", "1.2")[0] == 0
    installed = json.loads(call("list", "--json")[1])["installed"]
    assert [(version["version"], version["place"]) for version in installed] == [("1.2", "active"), ("1.1", "previous")]
    assert call("activate", "tiny", "7.7")[0] == 2
    assert call("activate", "nothing")[0] == 2
    assert call("rollback", "nothing")[0] == 2
    code, out, _ = call("gc", "--json")
    assert (code, json.loads(out)["removed"]) == (0, [])
    assert json.loads(call("fsck", "--json")[1])["versions"] == 2
    assert call("fsck")[0] == 0


def test_defer_leaves_the_test_to_the_next_program(call, models, passing, store):
    code, out, _ = call("install", models[1], "--defer")
    assert code == 0
    assert "on trial" in out
    assert "trial (0 starts)" in call("list")[1]
    with load("tiny") as model:
        assert model.manifest.release == 1
    assert "active" in call("list")[1]


def test_fsck_exits_7_and_repairs(call, models, passing, store):
    call("install", models[1])
    call("install", models[2])
    (store.folder(store.slot("tiny").active) / "edgekit.json").write_bytes(b"")
    code, _, err = call("fsck")
    assert code == 7
    assert "--repair" in err
    assert call("fsck", "--repair")[0] == 0
    assert seen(store)[:2] == (1, 0)
    assert "damaged" in call("list")[1]
    assert call("gc")[0] == 0
    assert call("fsck")[0] == 0


def test_run_and_bench_take_an_installed_name(call, models):
    assert call("install", models[1])[0] == 0
    code, out, _ = call("run", "tiny", "word1 word2", "--json")
    assert code == 0
    assert len(json.loads(out)["embeddings"][0]) == 8
    assert call("bench", "tiny", "--rounds", "1", "--json")[0] == 0
    code, _, err = call("run", "nonesuch", "word1")
    assert code == 2
    assert "nonesuch" in err


def test_a_failed_self_test_exits_5_and_a_crash_8(call, models, monkeypatch):
    assert call("install", models[3])[0] == 5
    monkeypatch.setattr(limited_child, "_START", "import os; os.abort()")
    code, _, err = call("install", models[1])
    assert code == 8
    assert "crashed" in err


@pytest.mark.long  # in a process of its own: what other tests of a process still hold open counts too
@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are limited by setrlimit, which Windows has not")
def test_want_of_descriptors_while_it_is_loaded_ends_in_one_error_and_changes_nothing(store, models, passing):
    import resource

    put(store, models[1])
    load("tiny", store=store.root).close()  # what it imports, it has imported
    before = seen(store)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = 1 + max(int(path.name) for path in Path("/dev/fd").iterdir())
    ended = []
    for spare in range(64):
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, hard))
        try:
            load("tiny", store=store.root).close()
            ended.append(None)
        except EdgekitError as error:
            ended.append((error.message, error.hint))  # the error itself would keep its frames' files open
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert seen(store) == before
        if ended[-1] is None:
            break
    assert ended[-1] is None
    assert all(message and hint for message, hint in ended[:-1])
