"""What is said before quantizing: the share of products, and what that share allows."""

import numpy as np
import pytest

from edgekit.stages import component_files
from edgekit.stages.predicted_gain import Prediction, predict

from .tiny_graph import WIDTH, inputs, tiny_graph


def test_a_graph_is_profiled_and_its_product_timed(tmp_path):
    model = tiny_graph()
    for index, node in enumerate(model.graph):
        node.name = f"{node.op_type}_{index}"  # as an export names them; a profile knows nodes by their names
    component_files.save({"model": model}, tmp_path)
    found = predict(tmp_path, "model", {"x": inputs()})
    assert 0 < found.share <= 1
    assert found.product_gain > 0
    assert found.to_json().keys() == {"share", "product_gain", "gain"}


def test_a_graph_without_constant_products_promises_nothing(tmp_path):
    model = tiny_graph()
    for node in model.graph:
        if node.op_type == "MatMul":
            node.domain = "elsewhere"
    component_files.save({"model": model}, tmp_path)
    assert predict(tmp_path, "model", {"x": np.zeros((1, WIDTH), np.float32)}) is None


@pytest.mark.parametrize(
    ("share", "product_gain", "gain"),
    [(1, 2, 2), (0.5, 2, 4 / 3), (0, 8, 1), (0.8, 0.5, 1 / 1.8)],
)
def test_the_rest_of_the_graph_bounds_the_gain(share, product_gain, gain):
    prediction = Prediction(share, product_gain)
    assert prediction.gain == pytest.approx(gain)
    assert f"{gain:.1f} x in all" in str(prediction)
