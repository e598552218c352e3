"""The file of a matrix: what it may say, and what is refused."""

import pytest

from edgekit.errors import RecordError
from edgekit.spec.matrix import Matrix
from edgekit.spec.reader import parse_toml


def read(text):
    return Matrix.read(parse_toml(text, "matrix.toml"))


def names(matrix):
    return [cell.name for cell in matrix.cells]


def test_lists_are_enough_and_the_climb_is_the_recipe_where_none_is_named():
    matrix = read('models = ["minilm", "owner/model"]\ntargets = ["all"]')
    assert names(matrix) == ["minilm/all/climb", "model/all/climb"]
    assert [model.source for model in matrix.models] == ["minilm", "owner/model"]
    assert matrix.cells[0].target.targets == ("all",)
    assert (matrix.cells[0].recipe.recipe, matrix.cells[0].recipe.optimize) == (None, None)


def test_tables_say_more():
    matrix = read(
        """
        [models.mine]
        source = "checkpoints/mine"
        task = "text-classification"
        data = "data.jsonl"
        budget = { agreement_min = 0.97 }
        memory_mb = 4000
        [targets.board]
        targets = ["arm64-neon", "arm64-dotprod"]
        resources = { arm64 = 1, large = 0.5 }
        [recipes.fast]
        optimize = "latency"
        [recipes.int8]
        recipe = "int8-dynamic"
        """
    )
    assert names(matrix) == ["mine/board/fast", "mine/board/int8"]
    (cell, _) = matrix.cells
    assert (cell.model.budget, cell.model.memory_bytes) == ({"agreement_min": 0.97}, 4_000_000_000)
    assert cell.target.resources == {"arm64": 1, "large": 0.5}
    assert [recipe.optimize for recipe in matrix.recipes] == ["latency", None]


def test_an_exclusion_takes_out_every_cell_that_it_fits():
    lists = 'models = ["a", "b"]\ntargets = ["x86_64-avx2", "arm64-neon"]\nrecipes = ["climb", "fp32"]\n'
    rules = '[[exclude]]\nmodel = "a"\ntarget = "arm64-neon"\n[[exclude]]\nrecipe = "fp32"\n'
    assert names(read(lists + rules)) == ["a/x86_64-avx2/climb", "b/x86_64-avx2/climb", "b/arm64-neon/climb"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('targets = ["all"]', "missing key 'models'"),
        ('models = []\ntargets = ["all"]', "models: is empty"),
        ('models = ["a", "a"]\ntargets = ["all"]', "'a' is there twice"),
        ('models = ["x/a", "y/a"]\ntargets = ["all"]', "same folder"),
        ('models = ["a", "A"]\ntargets = ["all"]', "same folder"),
        ('models = [".."]\ntargets = ["all"]', "cannot be the name of a folder"),
        ('targets = ["all"]\n[models."a/../../b"]', "cannot be the name of a folder"),
        ('models = ["a"]\ntargets = ["all"]\nrecipe = ["fp32"]', "unknown key 'recipe'"),
        ('models = "a"\ntargets = ["all"]', "expected a list"),
        ('targets = ["all"]\n[models.a]\nrecipes = "fp32"', "unknown key 'recipes'"),
        ('targets = ["all"]\n[models.a]\nbudget = { agreement_min = 3 }', "outside 0..2"),
        ('models = ["a"]\n[targets.all]\nresources = { arm64 = -1 }', "outside"),
        ('models = ["a"]\ntargets = ["all"]\n[recipes.x]\nrecipe = "fp32"\noptimize = "size"', "leave out recipe"),
        ('models = ["a"]\ntargets = ["all"]\n[[exclude]]\nmodel = "b"', "there is no model 'b'"),
        ('models = ["a"]\ntargets = ["all"]\n[[exclude]]\n', "names no model"),
        ('models = ["a"]\ntargets = ["all"]\n[[exclude]]\nmodel = "a"', "leaves no cell"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(text, message):
    with pytest.raises(RecordError, match=message):
        read(text)


def test_too_many_cells_are_refused():
    listed = ", ".join(f'"m{number}"' for number in range(1000))
    recipes = ", ".join(f'"{name}"' for name in ("fp32", "climb", "int8-dynamic", "int8-blockwise", "fp16"))
    with pytest.raises(RecordError, match="more than 4096"):
        read(f'models = [{listed}]\ntargets = ["all"]\nrecipes = [{recipes}]')
