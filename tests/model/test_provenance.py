from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from graphopt.model import Model, load_model, save_model
from graphopt.model.provenance import with_provenance
from graphopt.report import Report
from tests.build import RAMP, external_tensor, parse
from tests.report.samples import report

TEXT = """g (float[N,6] x) => (float[N,6] y) {
    y = Add(x, w)
}"""


def signed(**changes: Any) -> Report:
    return report(versions={"graphopt": "0.1.0", "onnx": "1.20"}, **changes)


def metadata(proto: ModelProto) -> list[tuple[str, str]]:
    return [(entry.key, entry.value) for entry in proto.metadata_props]


def rest(proto: ModelProto) -> bytes:
    """All of a model but its own metadata."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    copy.ClearField("metadata_props")
    return copy.SerializeToString(deterministic=True)


def model(**entries: str) -> Model:
    proto = parse(TEXT, w=RAMP)
    proto.graph.node[0].metadata_props.add(key="graphopt.version", value="of the node")
    for key, value in entries.items():
        proto.metadata_props.add(key=key, value=value)
    return Model(proto)


WRITTEN = [
    ("graphopt.version", "0.1.0"),
    ("graphopt.recipe", "exact"),
    ("graphopt.recipe_digest", "cd" * 32),
    ("graphopt.source_sha256", "ab" * 32),
]


def test_what_is_written() -> None:
    assert metadata(with_provenance(model(), signed()).proto) == WRITTEN


def test_other_metadata_stays_in_its_order() -> None:
    given = model(zebra="1", author="me", graphopts="not ours")
    found = metadata(with_provenance(given, signed()).proto)
    assert found == [("zebra", "1"), ("author", "me"), ("graphopts", "not ours"), *WRITTEN]


def test_former_provenance_is_replaced() -> None:
    given = model(**{"graphopt.recipe": "old", "author": "me", "graphopt.mood": "odd"})
    once = with_provenance(given, signed())
    assert metadata(once.proto) == [("author", "me"), *WRITTEN]
    assert with_provenance(once, signed()).to_bytes() == once.to_bytes()


def test_nothing_else_changes() -> None:
    given = model(author="me")
    before = given.to_bytes()
    found = with_provenance(given, signed())
    assert rest(found.proto) == rest(given.proto)
    assert given.to_bytes() == before


def test_what_is_not_known_is_not_written() -> None:
    found = with_provenance(model(), signed(source_sha256=None))
    assert metadata(found.proto) == WRITTEN[:3]
    without_version = with_provenance(model(), report(versions={}))
    assert metadata(without_version.proto) == WRITTEN[1:]


def test_external_weights_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(RAMP.tobytes())
    proto = parse(TEXT)
    proto.graph.initializer.append(external_tensor("w", "weights.bin", RAMP))
    onnx.save(proto, tmp_path / "in.onnx")
    found = with_provenance(load_model(tmp_path / "in.onnx"), signed())
    assert found.has_external_data
    saved = onnx.load(save_model(found, tmp_path / "out.onnx"))
    assert np.array_equal(onnx.numpy_helper.to_array(saved.graph.initializer[0]), RAMP)
    assert metadata(saved) == WRITTEN


def test_saving_is_deterministic(tmp_path: Path) -> None:
    onnx.save(model(author="me").proto, tmp_path / "in.onnx")
    contents: set[bytes] = set()
    for name in ("a.onnx", "b.onnx"):
        found = with_provenance(load_model(tmp_path / "in.onnx"), signed(seconds=len(contents)))
        contents.add(save_model(found, tmp_path / name).read_bytes())
    assert len(contents) == 1
    assert metadata(onnx.load(tmp_path / "a.onnx")) == [("author", "me"), *WRITTEN]


@pytest.mark.parametrize("key", [b"\xe9dgar", b"graphopt.\xe9"])
def test_metadata_that_is_no_utf8(key: bytes) -> None:
    whole = model(**{"k" * len(key): "value"}).to_bytes().replace(b"k" * len(key), key)
    given = load_model(whole)
    found = with_provenance(given, signed()).proto
    assert rest(found) == rest(given.proto)
    assert (key in found.SerializeToString()) == (not key.startswith(b"graphopt."))
    assert metadata(found)[-4:] == WRITTEN


def test_recipe_whose_file_name_is_no_utf8() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    found = with_provenance(model(), signed(recipe=name)).proto
    assert dict(metadata(found))["graphopt.recipe"] == "caf\\udce9"
