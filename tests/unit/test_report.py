"""``edgekit report``: what is on the page, that it needs nothing else, and that nothing in a bundle can steer it."""

import json
import re
from html.parser import HTMLParser

import pytest

from edgekit.checks import check as checking
from edgekit.checks import child, footprint
from edgekit.checks.latency import Plan
from edgekit.cli import main
from edgekit.report import measuring
from edgekit.report.energy import measure
from edgekit.spec.parity import judge
from edgekit.spec.spread import spread

from .checked_bundle import COSINE, NORMS, evidence, write_checked_bundle
from .tiny_model import plain_variant

NASTY = '<script>alert(1)</script> & "quoted" \u202e'


class Parsed(HTMLParser):
    """Tags with their attributes, the text, and whether every tag is closed."""

    EMPTY = ("meta", "br", "link", "img", "hr")

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)


def full_evidence():
    agreements = [1 - 0.0001 * place for place in range(200)]
    texts = [{"text": f"text number {place}"} for place in range(199)] + [{"text": NASTY}]
    document = evidence()
    (variant,) = document["variants"]
    variant["parity"] = judge((COSINE, NORMS), ()).to_json() | {"spread": spread(agreements, texts).to_json()}
    rows = [
        ("fp32", 29.3, 90, True, ""),
        ("int8-dynamic", 20.9, 24, True, "the fastest that passes"),
        ("slow", 40.0, 95, False, ""),
    ]
    document["search"] = {
        "candidates": [
            {
                "recipe": recipe, "targets": ["x86_64-avx2"], "verdict": "pass", "agreement": 0.99,
                "size_bytes": size * 1_000_000,
                "latency_ms": ms, "pareto": pareto, "reason": reason,
            }
            for recipe, ms, size, pareto, reason in rows
        ]
    }  # fmt: skip
    return document


PROOFS = {
    "proofs": [
        {
            "name": "wasm", "kind": "wasm", "outcome": "wrong answers", "reason": "0.29 off", "variant": "plain",
            "golden": {"worst": 0.71, "mean": 0.8, "bound": 0.99, "inputs": 3, "passed": False},
        },
        {"name": "webgpu", "kind": "webgpu", "outcome": "not available", "reason": NASTY, "variant": ""},
    ]
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setattr(footprint, "ask_once", lambda request: child._opened(request)(request))


@pytest.fixture
def bundle(tmp_path):
    files = {"evidence/portability.json": json.dumps(PROOFS).encode()}
    return write_checked_bundle(tmp_path / "bundle", document=full_evidence(), files=files)


@pytest.fixture
def page(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")

    def make(*arguments):
        code = main(["report", *map(str, arguments), "-o", str(tmp_path / "out" / "page.html")])
        out, err = capsys.readouterr()
        assert code == 0, err
        text = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
        return text, Parsed(text), out

    return make


def test_every_section_is_there_and_every_link_leads_to_one(page, bundle):
    text, parsed, _ = page(bundle, "--no-measure")
    assert not parsed.open
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"] for tag, attributes in parsed.tags if tag == "a"}
    assert links == {"#parity", "#candidates", "#portability", "#latency", "#memory", "#provenance"}
    assert {link[1:] for link in links} <= set(ids)
    words = " ".join(parsed.text)
    for word in (
        "mean cosine",
        "0.99720 to 0.99760",
        "beaten by none",
        "chosen: the fastest that passes",
        "0.71000",
        "apache-2.0",
    ):
        assert word in words, word
    assert "<title>tiny 1</title>" in text


def test_the_page_needs_nothing_else(page, bundle):
    text, parsed, _ = page(bundle, "--no-measure")
    tags = {tag for tag, _ in parsed.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "image", "use", "base", "form"}
    assert set(re.findall(r"https?://[^\s\"'<>)]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_what_a_bundle_says_is_text_and_nothing_else(page, bundle):
    text, parsed, _ = page(bundle, "--no-measure")
    assert "<script" not in text
    assert NASTY in " ".join(parsed.text)
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)


def test_charts_are_text_in_the_pages_colours_and_the_same_each_time(page, bundle):
    text, parsed, _ = page(bundle, "--no-measure")
    charts = [attributes for tag, attributes in parsed.tags if tag == "svg"]
    assert len(charts) == 3  # distances, time, size
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert "agreement" in parsed.text
    drawn = text[text.index("<svg") : text.rindex("</svg>")]
    assert "var(--ink)" in drawn
    assert "prefers-color-scheme: dark" in text
    again, _, _ = page(bundle, "--no-measure")
    assert again == text


def test_the_worst_inputs_come_with_their_text(page, bundle):
    _, parsed, _ = page(bundle, "--no-measure")
    words = [word.strip() for word in parsed.text if word.strip()]
    first = words.index("0.98010")
    assert words[first + 1] == NASTY
    assert words[first + 3] == "text number 198"


def test_a_bundle_without_evidence_says_so(page, tmp_path):
    text, parsed, _ = page(write_checked_bundle(tmp_path / "bare", document=False), "--no-measure")
    assert "the bundle holds no evidence of it" in text
    assert "The evidence does not hold how single inputs fared." in text
    assert "edgekit verify BUNDLE --on all" in text
    assert not parsed.open


def test_what_differs_from_the_baseline_is_shown_first(page, bundle, tmp_path):
    old = write_checked_bundle(tmp_path / "old", variants=(plain_variant(recipe="other"),))
    _, parsed, _ = page(bundle, "--against", old, "--no-measure")
    words = " ".join(parsed.text)
    assert "Against tiny 1, release 1" in words
    assert words.index("other (float32)") < words.index("more that are alike")


def test_measuring_gives_times_memory_and_what_cannot_be_measured(page, bundle, monkeypatch, tmp_path):
    monkeypatch.setattr(measuring, "BURSTS", 2)
    monkeypatch.setattr(measuring, "PROCESSES", 1)
    monkeypatch.setattr("edgekit.report.energy.measure.__kwdefaults__", {**measure.__kwdefaults__, "folder": tmp_path})
    _, parsed, out = page(bundle, "--json")
    words = " ".join(parsed.text)
    assert "1 x 16 tokens" in words
    assert "peak of a start" in words
    assert "Energy of an answer: not measurable here." in words
    assert json.loads(out)["energy"] == "not measurable here"


def test_a_baseline_is_timed_beside_it(bundle):
    from edgekit.bundle.reading import Bundle
    from edgekit.spec.progress import Silent

    both = Bundle.open(bundle)
    measured = measuring.measure(both, both, Plan(limit_s=1.0), Silent())
    assert set(measured.samples["1 x 16 tokens"]) == {"new", "old"}
    assert measured.latency.count >= 1


def test_a_damaged_bundle_makes_no_page(bundle, tmp_path, capsys):
    (bundle / "golden" / "cases.json").write_bytes(b"{}")
    assert main(["report", str(bundle), "-o", str(tmp_path / "page.html")]) == 7
    assert not (tmp_path / "page.html").exists()


class Counter:
    """A processor package whose counter runs over once."""

    def __init__(self, folder, start, wrap):
        self.folder, self.value, self.wrap = folder, start, wrap
        folder.mkdir()
        (folder / "max_energy_range_uj").write_text(str(wrap - 1))
        self.add(0)

    def add(self, joules):
        self.value = (self.value + round(joules * 1e6)) % self.wrap
        (self.folder / "energy_uj").write_text(str(self.value))


def test_energy_is_that_of_all_packages_by_call_also_where_a_counter_runs_over(tmp_path):
    packages = [Counter(tmp_path / f"intel-rapl:{n}", 900_000, 1_000_000) for n in range(2)]
    Counter(tmp_path / "intel-rapl:0:0", 0, 1_000_000)  # a part of package 0: not counted again
    seconds = iter(range(100))

    def call():
        for package in packages:
            package.add(0.05)

    found = measure(call, folder=tmp_path, least_s=3, clock=lambda: float(next(seconds)))
    assert found.joules == pytest.approx(0.1)


@pytest.mark.parametrize("content", [None, "no number"])
def test_energy_is_none_where_counters_cannot_be_read(tmp_path, content):
    if content is not None:
        (tmp_path / "intel-rapl:0").mkdir()
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text(content)
    asked = []
    assert measure(lambda: asked.append(1), folder=tmp_path) is None
    assert not asked


def test_the_check_of_the_page_takes_no_time_on_the_clock(bundle, page, monkeypatch):
    monkeypatch.setattr(checking.latency, "compare", lambda *_: pytest.fail("timed"))
    page(bundle, "--against", bundle, "--no-measure")
