from __future__ import annotations

from onnx import AttributeProto, GraphProto, ModelProto, SparseTensorProto, TensorProto, helper

from graphopt.model.tensors import function_tensors, graph_tensors, model_tensors, node_tensors
from tests.build import PLACES, RAMP, external_tensor, holding, parse


def tensor(name: str) -> TensorProto:
    return TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], raw_data=bytes(4))


def sparse(name: str) -> SparseTensorProto:
    indices = TensorProto(name=f"{name} indices", data_type=TensorProto.INT64, dims=[1])
    return SparseTensorProto(values=tensor(name), indices=indices, dims=[9])


def rich_graph(prefix: str) -> GraphProto:
    graph = parse("g (float[1] x) => (float[1] y) { y = Relu(x) }").graph
    graph.initializer.append(tensor(f"{prefix} initializer"))
    graph.sparse_initializer.append(sparse(f"{prefix} sparse"))
    attributes = graph.node[0].attribute
    attributes.add(name="t", type=AttributeProto.TENSOR, t=tensor(f"{prefix} t"))
    attributes.add(name="ts", type=AttributeProto.TENSORS).tensors.extend(
        [tensor(f"{prefix} ts0"), tensor(f"{prefix} ts1")]
    )
    attributes.add(name="s", type=AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse(f"{prefix} s"))
    attributes.add(name="ss", type=AttributeProto.SPARSE_TENSORS).sparse_tensors.append(
        sparse(f"{prefix} ss")
    )
    return graph


def names(prefix: str) -> set[str]:
    plain = {f"{prefix} {what}" for what in ("initializer", "t", "ts0", "ts1")}
    lists = {f"{prefix} {what}" for what in ("sparse", "s", "ss")}
    return plain | lists | {f"{name} indices" for name in lists}


def rich_model() -> ModelProto:
    model = parse("g (float[1] x) => (float[1] y) { y = Relu(x) }")
    model.graph.CopyFrom(rich_graph("main"))
    body = helper.make_attribute("body", rich_graph("body"))
    several = helper.make_attribute("bodies", [rich_graph("first"), rich_graph("second")])
    model.graph.node[0].attribute.extend([body, several])
    function = model.functions.add(name="f", domain="local")
    function.node.extend(rich_graph("function").node)
    function.attribute_proto.add(name="d", type=AttributeProto.TENSOR, t=tensor("default"))
    training = model.training_info.add()
    training.initialization.CopyFrom(rich_graph("initialization"))
    training.algorithm.CopyFrom(rich_graph("algorithm"))
    return model


def test_no_tensor_of_a_model_is_missed_or_given_twice() -> None:
    found = [item.name for item in model_tensors(rich_model())]
    graphs = ("main", "body", "first", "second", "initialization", "algorithm")
    wanted = set().union(*(names(prefix) for prefix in graphs))
    function = {n for n in names("function") if "initializer" not in n}
    function -= {"function sparse", "function sparse indices"}
    assert sorted(found) == sorted(wanted | function | {"default"})


def test_the_order_is_that_of_an_equal_model() -> None:
    first, second = ([t.name for t in model_tensors(rich_model())] for _ in range(2))
    assert first == second


def test_the_tensors_are_the_models_own() -> None:
    model = rich_model()
    for item in model_tensors(model):
        item.doc_string = "seen"
    assert all(item.doc_string == "seen" for item in model_tensors(model))


def test_every_place_is_walked() -> None:
    for place in PLACES:
        stored = holding(external_tensor("w", "w.bin", RAMP), place)
        assert "w" in [item.name for item in model_tensors(stored)]


def test_the_parts_give_what_the_whole_gives() -> None:
    model = rich_model()
    graph = [item.name for item in graph_tensors(model.graph)]
    function = [item.name for item in function_tensors(model.functions[0])]
    node = [item.name for item in node_tensors(model.graph.node[0])]
    assert [item.name for item in model_tensors(model)][: len(graph)] == graph
    assert "default" in function and set(node) < set(graph)
