"""The documentation site: builds strictly, is complete, asks nobody else, and its search works from files."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from website import charts, links, results
from website.__main__ import write

from .chromium import Page, chromium_or_skip

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "mkdocs.yml"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "pages"
    write(folder)
    return folder


@pytest.fixture(scope="module")
def site(pages):
    done = build(pages, pages.with_name("built"))
    assert done.returncode == 0, done.stderr
    return pages.with_name("built")


def build(pages, output):
    environment = os.environ | {"EDGEKIT_PAGES": str(pages), "NO_MKDOCS_2_WARNING": "1"}
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        CONFIG,
        "--site-dir",
        output,
    ]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)


def documents(site):
    return {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[gone](nowhere.md)", "nowhere.md"),
        ("[gone](store.md#no-such-heading)", "no-such-heading"),
        ("[gone](#nothing)", "nothing"),
        ("::: edgekit.runtime.no_such_thing", "no_such_thing"),
    ],
    ids=["page", "anchor", "own anchor", "name in the code"],
)
@pytest.mark.long
def test_a_link_to_nothing_fails_the_build(pages, tmp_path, line, said):
    shutil.copytree(pages, tmp_path / "pages")
    page = tmp_path / "pages" / "packing.md"
    page.write_text(page.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    done = build(tmp_path / "pages", tmp_path / "built")
    assert done.returncode != 0
    assert said in done.stderr + done.stdout


def test_the_navigation_has_every_page_once(pages):
    text = CONFIG.read_text(encoding="utf-8")
    nav = yaml.safe_load("nav:" + text.partition("\nnav:")[2])["nav"]

    def listed(entry):
        if isinstance(entry, str):
            yield entry
        for value in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
            yield from listed(value)

    assert sorted(listed(nav)) == sorted(path.relative_to(pages).as_posix() for path in pages.rglob("*.md"))


def test_no_page_takes_anything_from_elsewhere(site):
    found = documents(site)
    assert len(found) > 60
    for name, text in found.items():
        taken = re.findall(r'<(?:script|img|iframe|source)[^>]+src="([^"]+)"', text)
        taken += re.findall(r'<link[^>]+rel="(?:stylesheet|preconnect|icon)"[^>]+href="([^"]+)"', text)
        taken += re.findall(r'<link[^>]+href="([^"]+)"[^>]+rel="(?:stylesheet|preconnect|icon)"', text)
        assert taken, name
        assert not [one for one in taken if one.startswith(("http:", "https:", "//"))], name


def test_links_that_leave_the_site_are_encrypted_addresses(site):
    for name, text in documents(site).items():
        for address in re.findall(r'<a [^>]*href="([^"]+)"', text):
            if re.match(r"[a-z]+:", address):
                assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]+(/[^\s]*)?", address), (name, address)


def test_the_reference_has_every_command_and_every_public_name(site):
    import edgekit.runtime
    from edgekit.cli.app import app

    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    text = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    assert [name for name in names if f'id="edgekit-{name}"' not in text] == []
    assert "--optimize" in text
    text = (site / "reference" / "runtime.html").read_text(encoding="utf-8")
    assert [name for name in edgekit.runtime.__all__ if f'id="edgekit.runtime.{name}"' not in text] == []
    assert "IntegrityError" in text


def test_charts_are_drawn_with_their_numbers_and_their_day(site):
    text = (site / "benchmarks.html").read_text(encoding="utf-8")
    for name in ("latency-with-vnni", "latency-without-vnni", "agreement", "cold-start"):
        figure = re.search(rf'<figure class="chart" id="{name}">(.*?)</figure>', text, re.DOTALL)
        assert figure, name
        assert "<svg" in figure[1]
        assert re.search(r"20\d\d-\d\d-\d\d", figure[1])
    assert text.count("The numbers") == 5


def test_a_chart_that_nobody_draws_and_a_file_that_is_gone_are_errors():
    with pytest.raises(charts.UnknownChartError, match="no chart is called 'latencies'"):
        charts.drawn("<!-- chart: latencies -->\n", "benchmarks.md")
    with pytest.raises(links.DeadLinkError, match="benchmarks/gone"):
        links.outward("[results](../benchmarks/gone)", "benchmarks.md")
    with pytest.raises(LookupError):
        results.newest("no such part")


def test_links_out_of_docs_lead_to_the_repository_and_code_stays_as_it_is():
    text = "[a](../../README.md#numbers) [b](../../action.yml) `[c](../x)`\n```\n[d](../x)\n```\n[e](../store.md)"
    assert links.outward(text, "howto/page.md") == (
        f"[a](../index.md#numbers) [b]({links.REPOSITORY}action.yml) `[c](../x)`\n```\n[d](../x)\n```\n[e](../store.md)"
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Page(tmp_path_factory.mktemp("chromium"), chromium_or_skip()) as page:
        yield page


def test_search_works_from_files_without_a_server(site, browser):
    browser.screen(1280, 900, dark=False)
    browser.open((site / "howto" / "embed.html").as_uri())
    browser.evaluate("document.getElementById('__search').click()")
    browser.evaluate("document.querySelector('input.md-search__input').focus()")
    browser.wait("document.querySelector('.md-search-result__meta').innerText === 'Type to start searching'")
    browser.evaluate(
        "(() => { const field = document.querySelector('input.md-search__input'); field.value = 'rollback';"
        "field.dispatchEvent(new Event('input', {bubbles: true}));"
        "field.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true, key: 'k'})) })()"
    )
    browser.wait("document.querySelectorAll('.md-search-result__item').length > 0")
    found = browser.evaluate("[...document.querySelectorAll('.md-search-result__link')].map(one => one.href)")
    assert any("/store.html" in address or "/reference/cli.html" in address for address in found)
    assert all(address.startswith("file:") for address in found)


@pytest.mark.parametrize(
    "name", ["index", "comparison", "benchmarks", "howto/embed", "reference/cli", "reference/runtime"]
)
def test_pages_fit_a_phone_and_follow_the_dark_mode(site, browser, name):
    browser.screen(390, 844, dark=True)
    browser.open((site / f"{name}.html").as_uri())
    browser.wait("document.body.getAttribute('data-md-color-scheme') === 'slate'")
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
