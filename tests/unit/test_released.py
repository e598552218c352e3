"""Bundles that were written by earlier versions open, verify and answer."""

from pathlib import Path

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.runtime.host import Host
from edgekit.runtime.loading import open_variant
from edgekit.runtime.selection import choose_variant

RELEASED = Path(__file__).parents[1] / "released"


@pytest.mark.parametrize("name", sorted(path.name for path in RELEASED.iterdir() if path.is_dir()))
def test_a_released_bundle_still_opens(name):
    bundle = Bundle.open(RELEASED / name)
    bundle.verify()
    haswell = Host("x86_64", frozenset({"avx2", "fma"}), "Haswell", "linux")
    with open_variant(bundle, choose_variant(bundle.manifest, haswell), threads=1) as model:
        assert model.embed(["word1", "word2 word3"]).shape == (2, 8)
        assert model.self_test().passed


def test_every_version_is_kept():
    assert sorted(path.name for path in RELEASED.iterdir() if path.is_dir()) == ["tiny-1.0", "tiny-2.0"]
