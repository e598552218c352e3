"""Why an export failed, in words a user can act on."""

import pytest

from edgekit.stages.reasons import why


@pytest.mark.parametrize(
    ("message", "text", "hint"),
    [
        ("BackboneModel requires the timm library but it was", "it needs the package timm", "pip install timm"),
        ("Could not guard on data-dependent expression Eq(u0, 1)", "values of a tensor", "architectures"),
        ("No ONNX function found for <OpOverload(op='aten.foo')>", "operation aten.foo", "onnxscript"),
        ("Constraints violated (L['x'].size()[0])!", "fixes a size that must be free", "transformers"),
        ("std::bad_alloc", "not enough memory", "more memory"),
        ("\n  first line\nsecond", "RuntimeError: first line", "--debug"),
    ],
)
def test_reason_says_why_and_what_to_do(message, text, hint):
    reason = why(RuntimeError(message))
    assert text in reason.text
    assert hint in reason.hint


def test_the_cause_behind_an_exception_counts():
    error = RuntimeError("translation failed")
    error.__cause__ = MemoryError()
    assert why(error).text == "there is not enough memory"


def test_the_models_own_function_is_named(tmp_path):
    file = tmp_path / "modeling_toy.py"
    file.write_text("def forward():\n    list(int('no') for _ in [1])\n")  # not in <genexpr>, which tells nothing
    scope = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)  # noqa: S102 - a traceback with that file's name
    try:
        scope["forward"]()
    except ValueError as error:
        assert why(error).text.endswith(" (in forward of modeling_toy.py)")
