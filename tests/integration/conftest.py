"""One full build of MiniLM and one tiny checkpoint for the whole session."""

from pathlib import Path

import pytest

from .checkpoints import write_tiny_checkpoint
from .known_exports import exported_once
from .real_build import Built, build_minilm
from .text_bundles import maker


@pytest.fixture(scope="session")
def minilm(tmp_path_factory) -> Built:
    """MiniLM for all targets, with the files the pipeline worked on."""
    return build_minilm(tmp_path_factory.mktemp("minilm"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """A random encoder of one layer with MiniLM's tokenizer; copy it before changing it."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    write_tiny_checkpoint(folder)
    return folder


@pytest.fixture(scope="module")
def known_exports():
    """For files whose tests build the same small models again."""
    with exported_once():
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """For a text task a tiny checkpoint's folder and its bundle, opened; each built when first asked for."""
    return maker(tmp_path_factory.mktemp("text-tasks"))
