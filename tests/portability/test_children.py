"""How a child ended, in one word: each fault is planted in a real process."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from edgekit.portability.children import End, Limits, run_limited
from edgekit.runtime.memory import resident_bytes

needs_proc = pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="memory is read from /proc")


def ended(script, tmp_path, *, seconds=60.0, memory=1 << 30, **others):
    return run_limited(
        [sys.executable, "-c", script],
        Limits(seconds, memory),
        log=tmp_path / "log",
        environment=dict(os.environ),
        **others,
    )


def test_a_child_that_does_its_work_has_finished(tmp_path):
    found = ended("print('done')", tmp_path)
    assert (found.how, found.detail, found.log) == (End.FINISHED, "", "done\n")


def test_a_child_that_gives_up_has_failed_and_its_last_words_are_kept(tmp_path):
    found = ended("import sys; sys.exit('no luck')", tmp_path)
    assert found.how is End.FAILED
    assert "no luck" in found.log


@pytest.mark.parametrize(
    ("number", "words"), [(4, "illegal instruction (SIGILL)"), (11, "segmentation fault (SIGSEGV)")]
)
def test_a_signal_is_a_crash_with_its_name(number, words, tmp_path):
    found = ended(f"import os; os.kill(os.getpid(), {number})", tmp_path)
    assert (found.how, found.detail) == (End.CRASHED, words)


def test_a_signal_that_an_emulator_passes_on_as_an_exit_status_is_a_crash_too(tmp_path):
    assert ended("import os; os._exit(128 + 4)", tmp_path).detail == "illegal instruction (SIGILL)"


def test_a_child_that_never_ends_has_hung_and_is_gone(tmp_path):
    script = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    found = ended(script, tmp_path, seconds=2)
    assert (found.how, found.detail) == (End.HUNG, "no end after 2 s")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@needs_proc
def test_a_child_that_takes_too_much_memory_is_stopped_with_that_reason(tmp_path):
    found = ended("import time; kept = bytearray(400 << 20); time.sleep(600)", tmp_path, memory=100 << 20)
    assert found.how is End.OUT_OF_MEMORY
    assert "0.104858 GB" in found.detail


@needs_proc
def test_memory_of_a_childs_own_children_counts_and_they_end_with_it(tmp_path):
    script = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', "
        "'import time; kept = bytearray(400 << 20); time.sleep(600)']); time.sleep(600)"
    )
    assert ended(script, tmp_path, memory=100 << 20).how is End.OUT_OF_MEMORY


@needs_proc
def test_this_process_has_memory():
    assert resident_bytes(os.getsid(0)) >= 0


def test_a_child_that_has_done_its_work_but_does_not_end_is_ended(tmp_path):
    began = time.monotonic()
    found = ended("import time; time.sleep(600)", tmp_path, until=lambda: time.monotonic() > began + 0.5)
    assert found.how is End.FINISHED


def test_whoever_no_longer_wants_the_answer_ends_the_child(tmp_path):
    limits = Limits(60, 1 << 30)
    threading.Timer(0.5, limits.cancelled.set).start()
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    began = time.monotonic()
    run_limited(command, limits, log=tmp_path / "log", environment=dict(os.environ))
    assert time.monotonic() - began < 30
