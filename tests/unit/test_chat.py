import sys
import time

import pytest

from edgekit.errors import HostError, InputError, IntegrityError
from edgekit.runtime.chat import MAX_TEMPLATE, ChatTemplate

pytest.importorskip("jinja2", reason="chat templates are an extra")

HELLO = [{"role": "user", "content": "Hello "}]
CHAT = [{"role": "system", "content": "Be brief."}, *HELLO, {"role": "assistant", "content": "Hi. "}]
SIMPLE = (
    "{% for m in messages %}<{{ m.role }}>{{ m['content'] | trim }}</{{ m.role }}>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def render(template, messages=HELLO, **more):
    return ChatTemplate(template.encode(), {"bos_token": "<s>", "eos_token": "</s>"}).render(messages, **more)


def test_messages_become_a_prompt_that_ends_where_the_answer_begins():
    assert render(SIMPLE) == "<user>Hello</user>\n<assistant>"
    assert render(SIMPLE, add_generation_prompt=False) == "<user>Hello</user>\n"


def test_a_final_message_is_continued_as_the_template_spaces_it():
    more = {"add_generation_prompt": False, "continue_final_message": True}
    assert render(SIMPLE, CHAT, **more).endswith("<assistant>Hi.")
    assert render(SIMPLE.replace(" | trim", ""), CHAT, **more).endswith("<assistant>Hi. ")
    parts = [{"role": "assistant", "content": [{"type": "text", "text": "Hi. "}, {"type": "image"}]}]
    assert render("{{ messages[0].content[0].text }}!", parts, **more) == "Hi. "
    assert CHAT[-1]["content"] == "Hi. "  # what was given is not changed
    with pytest.raises(InputError, match="drops the final message"):
        render("{{ messages[0].content }}", CHAT, **more)
    with pytest.raises(InputError, match="no generation prompt"):
        render(SIMPLE, CHAT, continue_final_message=True)


def test_special_tokens_tools_documents_and_variables_reach_the_template():
    template = "{{ bos_token }}{{ tools | tojson }}{{ documents[0].title }}{{ enable_thinking }}"
    more = {"tools": [{"name": "é<"}], "documents": [{"title": "T"}], "variables": {"enable_thinking": False}}
    assert render(template, **more) == '<s>[{"name": "é<"}]TFalse'


def test_what_templates_use_of_jinja():
    assert render("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ loop.length }}{% endfor %}") == "99"
    assert render("{% generation %}a{% endgeneration %}") == "a"
    assert (
        render("{% set ns = namespace(n=1) %}{% for m in [1, 2] %}{% set ns.n = ns.n + m %}{% endfor %}{{ ns.n }}")
        == "4"
    )
    assert (
        render("{{ '{}-{:>3}' .format(1, 2) }} {{ '%s 2024 %5d' % ('a', 3) }} {{ 'a' ~ 1 ~ none }}")
        == "1-  2 a 2024     3 a1None"
    )
    assert (
        render("{{ dict(a=1).items() | list }} {{ [1, 2] | sum * 2 ** 3 }} {{ ', '.join(['a', 'b']) }}")
        == "[('a', 1)] 24 a, b"
    )
    assert len(render("{{ strftime_now('%Y-%m-%d') }}")) == 10
    assert render("{{ messages[0].reasoning_content }}", [{"role": "a", "content": "", "thinking": "hm"}]) == "hm"
    assert render("{{ 'tool_calls' in messages[0] }}", [{"role": "a", "content": "x", "tool_calls": None}]) == "False"


def test_a_template_can_refuse_messages():
    with pytest.raises(InputError, match="refused the messages: roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(InputError, match="failed on these messages"):
        render("{{ messages[0].content + 1 }}")
    with pytest.raises(InputError, match=r"refused the messages.*is undefined"):
        render("{{ nothing.at.all }}")


@pytest.mark.parametrize(
    "messages",
    [
        [],
        "Hello",
        [{"role": "user"}],
        ["Hello"],
        [{"role": "user", "content": object()}],
        [{"role": "user", "content": {1: "a"}}],
        HELLO * 5000,
        [{"role": "user", "content": [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}],
    ],
)
def test_what_is_no_conversation_is_refused(messages):
    with pytest.raises(InputError):
        render(SIMPLE, messages)


@pytest.mark.parametrize("template", ["{% for %}", "{{ 'a' | mystery }}", "{{ " + "(" * 5000, "x" * (MAX_TEMPLATE + 1)])
def test_what_is_no_template_is_refused(template):
    with pytest.raises(IntegrityError, match="chat template"):
        render(template)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(IntegrityError, match="not UTF-8"):
        ChatTemplate(b"\xff", {})


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('id') }}",
        "{{ (''|attr('__class__')).mro() }}",
        "{{ dict.fromkeys.__func__.__globals__ }}",
        "{{ raise_exception.__globals__.json }}",
        "{{ namespace(__class__=1) }}",
        "{% set ns = namespace() %}{% set ns.__dict__ = 1 %}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
    ],
)
def test_ways_out_of_the_sandbox_are_closed(template):
    with pytest.raises(IntegrityError, match="tried what is forbidden"):
        render(template)


GROWING = "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = STEP %}{% endfor %}{{ ns.x }}"


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
        "{% for x in [1, 2] recursive %}{% if loop.depth < 18 %}{{ loop([1, 2]) }}{% endif %}{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ ['a'] * 10**9 }}",
        "{{ 10 ** (10 ** 8) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '%(a)999999999d' % {'a': 1} }}",
        "{{ '%*d' % (999999999, 1) }}",
        "{{ '%999999999d' | format(1) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ '{:>{}}'.format(1, 99999) }}",
        "{{ 'a'.center(999999999) }}",
        "{{ 'a' | center(999999999) }}",
        "{{ messages | tojson(indent=999999999) }}",
        "{{ (range(99999) | list) | map('string') | map('center', 99999) | list | length }}",
        "{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
        "{{ ('\t' * 100000).expandtabs(90000) }}",
        "{{ ('a' * 100000).join('b' * 100000) }}",
        "{{ 'aaa' | wordwrap(1, wrapstring='b' * 1000000) }}",
        "{% set n = namespace(l=['a' * 10**6]) %}{% for i in range(9) %}{% set n.l = n.l + [n.l[0][1:]] %}{% endfor %}",
        GROWING.replace("STEP", "ns.x ~ ns.x"),
        GROWING.replace("STEP", "ns.x + ns.x"),
        GROWING.replace("STEP", "[ns.x, ns.x] | join"),
        GROWING.replace("STEP", "''.join([ns.x, ns.x])"),
        GROWING.replace("STEP", "ns.x.replace('a', 'aa')"),
        GROWING.replace("STEP", "ns.x | replace('a', 'aa')"),
        GROWING.replace("STEP", "[ns.x, ns.x]"),
        GROWING.replace("{% set ns.x = STEP %}", "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}"),
        GROWING.replace("'aaaaaaaa'", "7").replace("STEP", "ns.x * ns.x"),
    ],
)
def test_a_template_that_would_take_for_ever_or_all_memory_ends(template):
    with pytest.raises(InputError, match="needs more than it may"):
        render(template)


def test_a_template_that_finds_an_expensive_step_ends_in_time(monkeypatch):
    monkeypatch.setattr("edgekit.runtime.chat_sandbox.MAX_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(InputError, match=r"longer than 0\.2 seconds"):
        render("{% for i in range(100000) %}{{ range(100000) | list | sort | length }}{% endfor %}")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "template", ["{% include 'x' %}", "{% import 'os' as os %}", "{{ strftime_now('%9999999d') }}", "{{ lipsum() }}"]
)
def test_nothing_outside_the_template_is_reached(template):
    with pytest.raises(InputError):
        render(template)


def test_a_long_conversation_is_within_the_budget():
    messages = [{"role": role, "content": "word " * 500} for role in ("user", "assistant") * 500]
    assert len(render(SIMPLE, messages)) > 2_000_000


def test_without_jinja_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(HostError, match="Jinja2 is not installed") as caught:
        render(SIMPLE)
    assert "edgekit[chat]" in caught.value.hint


def test_a_jinja_with_known_ways_out_is_refused(monkeypatch):
    import jinja2

    monkeypatch.setattr(jinja2, "__version__", "3.1.5")
    with pytest.raises(HostError, match=r"3\.1\.5 has known ways out"):
        render(SIMPLE)
