"""Records of ONNX Runtime put together; on a second provider for real in tests/ep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt.benching.fresh import Job, ask_fresh
from graphopt.benching.placement import executed_rows, measure_placement, place_once, summarise
from graphopt.errors import ProviderUnavailable
from graphopt.graph import measure
from graphopt.graph.stats import every_node
from graphopt.model import load_model
from graphopt.runtime.settings import CPU, CUDA, Provider, SessionSettings
from models.catalog import by_name, feeds
from models.fetch import fetch
from tests.build import Array, parse

Save = Callable[..., Path]

LOOP = """agraph (float[5,8] x, float[8,8] w, int64 n) => (float[5,8] y) {
  c = Constant<value = bool {1}>()
  [loop] y = Loop (n, c, x) <body = b (int64 i, bool ci, float[5,8] a) =>
    (bool co, float[5,8] z) { co = Identity(ci) [product] m = MatMul(a, w) [relu] z = Relu(m) }>
}"""

BRANCH = """agraph (bool c, float[4,4] x) => (float[4,4] y) {
  [if] y = If (c) <
    then_branch = t () => (float[4,4] p) { [taken] p = MatMul(x, x) },
    else_branch = e () => (float[4,4] q) { [left] q = Gemm(x, x) }>
}"""

UNNAMED = "agraph (float[4,4] x) => (float[4,4] y) { a = MatMul(x, x) y = Relu(a) }"

FLOATS = np.ones((4, 4), np.float32)
LOOP_FEEDS: dict[str, Array] = {
    "x": np.ones((5, 8), np.float32), "w": np.ones((8, 8), np.float32), "n": np.array(3)
}  # fmt: skip


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def saved(text: str) -> Path:
        onnx.save(parse(text), tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return saved


def recorded(path: Path, values: dict[str, Array], **settings: Any) -> dict[str, Any]:
    """What a run on the CPU records, as if nothing of it were on the provider asked for."""
    found: dict[str, Any] = ask_fresh(place_once, path, SessionSettings(**settings), values)
    assert found["on_cpu"] is None
    return {**found, "on_cpu": found["executed"]}


def test_cpu_runs_all_of_it() -> None:
    path = fetch("lenet_5")
    values = feeds(by_name("lenet_5"), 0)
    found = measure_placement(path, SessionSettings(), values, load_model(path))
    assert list(found.nodes) == [CPU]
    assert (found.macs_elsewhere, found.bytes_elsewhere, found.elsewhere) == (0.0, 0.0, [])


@pytest.mark.parametrize("name", ["lenet_300_100", "resnet_20", "mixnet", "magika"])
@pytest.mark.parametrize("level", ["off", "all"])
def test_executed_nodes_add_up_to_the_models_multiplications(name: str, level: str) -> None:
    path, values = fetch(name), feeds(by_name(name), 0)
    model = load_model(path)
    found = recorded(path, values, level=level)
    nodes = list(every_node(model.proto))
    placement = summarise(found, CUDA, nodes, None)
    shapes = {key: value.shape for key, value in values.items()}
    macs = [node.macs for node in placement.elsewhere if node.macs is not None]
    assert len(macs) == len(placement.elsewhere)
    assert sum(macs) == measure(model, shapes).macs
    assert macs == sorted(macs, reverse=True)
    assert (placement.macs_elsewhere, placement.bytes_elsewhere) == (1.0, 1.0)
    assert placement.nodes == {CPU: sum(placement.nodes.values())}


def test_weights_count_as_bytes_that_are_read() -> None:
    path = fetch("lenet_300_100")
    found = recorded(path, feeds(by_name("lenet_300_100"), 0))
    read = sum(row["bytes"] for row in found["executed"] if row["op_type"] in ("Gemm", "MatMul"))
    assert read > measure(load_model(path)).weight_bytes * 0.99


def test_body_of_a_loop_counts_as_often_as_it_turns(save: Save) -> None:
    path = save(LOOP)
    found = summarise(
        recorded(path, LOOP_FEEDS), CUDA, list(every_node(load_model(path).proto)), None
    )
    by_name = {node.name: node for node in found.elsewhere}
    assert by_name["product"].macs == 3 * 5 * 8 * 8
    assert by_name["product"].bytes == 3 * 4 * (40 + 64 + 40)
    # What the loop reads and writes is what its body does.
    assert (by_name["loop"].macs, by_name["loop"].bytes) == (0, 0)
    assert found.elsewhere[0].name == "product"


def test_node_that_did_not_run_is_listed_without_weight(save: Save) -> None:
    path = save(BRANCH)
    found = recorded(path, {"c": np.array(True), "x": FLOATS})
    placement = summarise(found, CUDA, list(every_node(load_model(path).proto)), None)
    weights = {node.name: node.macs for node in placement.elsewhere}
    assert weights == {"taken": 64, "left": 0, "if": 0}
    assert placement.nodes == {CPU: 3}


def test_nodes_without_a_name_are_listed_once(save: Save) -> None:
    path = save(UNNAMED)
    found = recorded(path, {"x": FLOATS})
    placement = summarise(found, CUDA, list(every_node(load_model(path).proto)), None)
    assert [(node.op_type, node.macs) for node in placement.elsewhere] == [
        ("MatMul", 64), ("Relu", 0)
    ]  # fmt: skip


def test_provider_that_is_absent_is_told(save: Save) -> None:
    path = save(UNNAMED)
    settings = SessionSettings(provider=Provider("XnnpackExecutionProvider"))
    with pytest.raises(ProviderUnavailable, match="Xnnpack"):
        measure_placement(path, settings, {"x": FLOATS}, load_model(path))


def part(provider: str, name: str, op_type: str, size: int = 0, **more: Any) -> dict[str, Any]:
    return {"provider": provider, "name": name, "op_type": op_type, "inputs": [], "outputs": [],
            "bytes": size, "calls": 1, **more}  # fmt: skip


FUSED = part("EP", "fused_1", "EP-subgraph_1", 10)
MATMUL = part(CPU, "m", "MatMul", 30, inputs=[[2, 3], [3, 4]], outputs=[[2, 4]])
OTHER = part(CPU, "o", "MatMul", 60, inputs=[[2, 3], [3, 12]], outputs=[[2, 12]])
SMALL = part(CPU, "s", "Shape", 10)


def records(*executed: Any, on_cpu: Any = None, assigned: Any = ()) -> dict[str, Any]:
    return {"executed": list(executed), "on_cpu": on_cpu, "assigned": list(assigned)}


def test_whole_is_what_the_cpu_did_not_what_a_fused_node_shows() -> None:
    found = records(FUSED, MATMUL, on_cpu=[MATMUL, OTHER, SMALL])
    placement = summarise(found, "EP", [], macs=1000)
    assert placement.macs_elsewhere == 24 / (24 + 72)
    assert placement.bytes_elsewhere == 30 / 100
    assert placement.nodes == {"EP": 1, CPU: 1}


def test_where_the_cpu_cannot_run_it_the_callers_count_stands_in() -> None:
    placement = summarise(records(FUSED, MATMUL), "EP", [], macs=240)
    assert placement.macs_elsewhere == 24 / 240
    assert placement.bytes_elsewhere == 30 / 40
    assert summarise(records(FUSED, MATMUL), "EP", [], macs=None).macs_elsewhere is None


def test_share_of_what_is_unknown_is_unknown_unless_nothing_is_elsewhere() -> None:
    contrib = part(CPU, "c", "BiasGelu", 10)
    unknown = summarise(records(contrib, SMALL, on_cpu=[contrib, SMALL]), "EP", [], 10)
    assert unknown.macs_elsewhere is None
    assert [node.name for node in unknown.elsewhere] == ["c", "s"], "it may be the heaviest"
    light = summarise(records(FUSED, SMALL, on_cpu=[contrib, SMALL]), "EP", [], 10)
    assert light.macs_elsewhere == 0.0


def test_share_is_at_most_the_whole() -> None:
    assert summarise(records(MATMUL, FUSED), "EP", [], macs=20).macs_elsewhere == 1.0


def test_session_is_made_so_that_every_node_shows(save: Save, tmp_path: Path) -> None:
    path = save("agraph (float[4,4] x) => (float[4,4] y) { a = MatMul(x, x) y = Relu(a) }")
    job = Job(str(path), SessionSettings(level="all", prepacking=True), {"x": FLOATS}, tmp_path, 1)
    found = place_once(job)
    assert [row["op_type"] for row in found["executed"]] == ["MatMul", "Relu"]
    assert job.settings.prepacking, "the caller's job is left as it was"


def test_profile_of_another_form_is_an_error() -> None:
    event = {"cat": "Node", "name": "x_kernel_time", "args": {"op_name": "Relu", "provider": CPU}}
    with pytest.raises(KeyError):
        executed_rows([event])
