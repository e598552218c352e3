"""Every command of README.md and docs/ is run, or stands with a reason in docs_commands.toml and is parsed."""

import shutil
import tomllib
from contextlib import ExitStack

import pytest

from ..registry import stand_in_registry  # noqa: TID252 - tests are no installed package
from . import docs_commands, local_hub, writable_hub
from .docs_commands import PAGES, ROOT, Command, Exports, Rules, blocks, collect, options_of, parse, run_page, spans
from .docs_places import furnish, hub_of

COMMANDS = {path.relative_to(ROOT).as_posix(): collect(path) for path in PAGES}
RULES = Rules.read()
TOKEN = "hf_notatokenofanybody"  # noqa: S105 - of the server on loopback
RUN = [
    pytest.param(page, marks=[pytest.mark.long] if RULES.is_long(page) else [], id=page)
    for page, commands in COMMANDS.items()
    if not all(map(RULES.is_left, commands))
]


@pytest.fixture(scope="session")
def exports(minilm, tmp_path_factory):
    """The commands that export, run once for all pages; MiniLM is the session's, which is built by the same request."""
    return Exports({("export", "minilm", "-t", "all"): minilm.bundle}, tmp_path_factory.mktemp("exports"))


@pytest.fixture
def places(request, tmp_path):
    """Servers on loopback in the place of those that pages name."""
    page = request.node.callspec.params["page"]
    served = hub_of(page, tmp_path / "hub")
    with ExitStack() as running:
        writes = "hf://" in (ROOT / page).read_text(encoding="utf-8")
        hub = writable_hub.serve(tmp_path / "served", TOKEN) if writes else local_hub.serve(served)
        names = {"HF_ENDPOINT": running.enter_context(hub).url, "HF_TOKEN": TOKEN if writes else ""}
        yield names | {"registry": running.enter_context(stand_in_registry.serve()).host}


@pytest.mark.export
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run_in_its_order(page, minilm, exports, places, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    furnish(page, here, minilm.bundle)
    assert run_page(page, here, RULES, exports, places)
    shutil.rmtree(here)


@pytest.mark.parametrize("command", [one for found in COMMANDS.values() for one in found if one.words], ids=str)
def test_the_command_line_takes_what_pages_say(command):
    parse(command.words)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_named_in_prose_have_these_options(page):
    for name, options in spans(page):
        known = options_of(name)
        assert known is not None, f"`edgekit {name}`"
        assert set(options) <= known | {"--json", "--debug", "--help"}, f"`edgekit {name} {' '.join(options)}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_command_hides_in_a_block_without_a_language(page):
    for number, language, lines in blocks(page.read_text(encoding="utf-8")):
        if not language:
            assert not [line for line in lines if line.lstrip("$ ").startswith(("edgekit ", "pip ", "make "))], number


def test_every_entry_of_the_list_is_about_a_command():
    rules = Rules.read()
    for commands in COMMANDS.values():
        for command in commands:
            if not rules.is_left(command):
                rules.text(command, {"registry": ""})
    assert not rules.unused()
    for entry in rules.tables["long"]:
        assert any(commands and Rules({"long": [entry]}).is_long(page) for page, commands in COMMANDS.items()), entry
    assert all(entry["reason"] for entries in rules.tables.values() for entry in entries)


def test_extras_that_pages_install_exist():
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for commands in COMMANDS.values():
        for command in commands:
            if command.text.startswith("pip install ") and "[" in command.text:
                named = command.text.partition("[")[2].partition("]")[0].split(",")
                assert set(named) <= set(known), command


@pytest.mark.parametrize(
    "words",
    ["exprot minilm", "export minilm", "export minilm -t all --optimise size", "bench b --repeat often", "verify"],
)
def test_a_command_that_does_not_exist_is_found(words):
    with pytest.raises(AssertionError):
        parse(words.split())


def test_a_failing_command_of_a_page_is_found(tmp_path, monkeypatch):
    page = ROOT / "docs" / "packing.md"
    command = Command("docs/packing.md", 4, "sh", "edgekit verify bundles/none")
    monkeypatch.setattr(docs_commands, "collect", lambda path: [command] if path == page else [])
    with pytest.raises(AssertionError, match=r"docs/packing.md:4: edgekit verify bundles/none"):
        run_page("docs/packing.md", tmp_path, RULES, Exports({}, tmp_path), {})


def test_comments_prompts_and_lines_that_go_on_are_understood(tmp_path, monkeypatch):
    monkeypatch.setattr(docs_commands, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ edgekit run b 'a # b' \\\n  --set top_k=1  # three\nan answer\n```\n"
        "```sh\n# nothing\nA=1 edgekit list\n```\n"
    )
    found = collect(page)
    assert [command.line for command in found] == [2, 8]
    assert [command.words for command in found] == [["run", "b", "a # b", "--set", "top_k=1"], ["list"]]
