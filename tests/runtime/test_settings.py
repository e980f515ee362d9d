from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import UsageError
from graphopt.runtime.child import ask
from graphopt.runtime.settings import (
    ALIASES,
    CPU,
    CUDA,
    Provider,
    SessionSettings,
    check_config,
    make_session,
    parse_provider,
)
from tests.build import few, parse

SPINNING = "session.intra_op.allow_spinning"
WRONG_PAIR = (
    "session.use_ort_model_bytes_directly",
    "session.use_ort_model_bytes_for_initializers",
)

texts = st.dictionaries(st.text(min_size=1), st.text(), max_size=3)
settings_made = st.builds(
    SessionSettings,
    provider=st.builds(Provider, st.text(min_size=1), texts),
    level=st.sampled_from(["off", "basic", "extended", "all"]),
    threads=st.integers(0, 256),
    spinning=st.booleans(),
    memory_pattern=st.booleans(),
    arena=st.booleans(),
    prepacking=st.booleans(),
    config=texts,
    record_placement=st.booleans(),
    profile_prefix=st.none() | st.sampled_from([Path("p"), Path("/a b/ü")]),
)


@few
@given(settings_made)
def test_header_brings_everything_through_json(settings: SessionSettings) -> None:
    header = json.loads(json.dumps(settings.to_header()))
    assert SessionSettings.from_header(header) == settings


@few
@given(settings_made)
def test_changed_names_what_differs_and_nothing_else(settings: SessionSettings) -> None:
    default = SessionSettings()
    fields = ("level", "spinning", "memory_pattern", "arena", "prepacking")
    expected = {
        name: str(getattr(settings, name))
        for name in fields
        if getattr(settings, name) != getattr(default, name)
    }
    assert settings.changed() == {**expected, **settings.config}


def test_defaults_change_nothing() -> None:
    assert SessionSettings().changed() == {}
    assert SessionSettings(Provider(CUDA), threads=7, record_placement=True).changed() == {}


@pytest.mark.parametrize(
    ("spinning", "config", "spins"),
    [
        (False, {}, False),
        (True, {}, True),
        (False, {SPINNING: "1"}, True),
        (True, {SPINNING: "0"}, False),
        (True, {"session.inter_op.allow_spinning": "0"}, True),
    ],
)
def test_spins_as_the_session_will(spinning: bool, config: dict[str, str], spins: bool) -> None:
    assert SessionSettings(spinning=spinning, config=config).spins is spins


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("cpu", CPU, {}),
        ("CPU", CPU, {}),
        ("cuda", CUDA, {}),
        ("tensorrt", "TensorrtExecutionProvider", {}),
        ("OpenVINO", "OpenVINOExecutionProvider", {}),
        ("CPUExecutionProvider", CPU, {}),
        ("QNNExecutionProvider", "QNNExecutionProvider", {}),
        ("cuda:", CUDA, {}),
        ("cuda:device_id=1", CUDA, {"device_id": "1"}),
        ("cuda:device_id=1,use_tf32=0", CUDA, {"device_id": "1", "use_tf32": "0"}),
        ("cuda:device_id=1,", CUDA, {"device_id": "1"}),
        ("cuda:a=1,a=2", CUDA, {"a": "2"}),
        ("openvino:device_type=HETERO:GPU", ALIASES["openvino"], {"device_type": "HETERO:GPU"}),
        ("x:path=/a=b", "x", {"path": "/a=b"}),
    ],
)
def test_provider_forms(text: str, name: str, options: dict[str, str]) -> None:
    assert parse_provider(text) == Provider(name, options)


@few
@given(
    st.text("abcXYZ_0", min_size=1).filter(lambda name: name.lower() not in ALIASES),
    st.dictionaries(st.text("abc_", min_size=1), st.text("ab1=:/", min_size=1), max_size=3),
)
def test_provider_is_read_as_it_was_written(name: str, options: dict[str, str]) -> None:
    text = f"{name}:{','.join(f'{key}={value}' for key, value in options.items())}"
    assert parse_provider(text) == Provider(name, options)


@pytest.mark.parametrize("text", ["", ":", ":device_id=0"])
def test_provider_without_a_name(text: str) -> None:
    with pytest.raises(UsageError, match="has no name") as caught:
        parse_provider(text)
    assert caught.value.hint == "one of: cpu, cuda, tensorrt, openvino"


@pytest.mark.parametrize("text", ["cuda:0", "cuda:=1", "cuda:a=1,b", "cuda:device_id 1"])
def test_provider_option_without_a_value(text: str) -> None:
    with pytest.raises(UsageError, match="is not key=value") as caught:
        parse_provider(text)
    assert text in str(caught.value)
    assert caught.value.hint


def test_pair_that_gives_wrong_answers_is_refused() -> None:
    with pytest.raises(UsageError, match="wrong answers") as caught:
        check_config({**dict.fromkeys(WRONG_PAIR, "1"), "other": "1"})
    assert all(key in str(caught.value) for key in WRONG_PAIR)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {WRONG_PAIR[0]: "1"},
        {WRONG_PAIR[1]: "1"},
        {WRONG_PAIR[0]: "1", WRONG_PAIR[1]: "0"},
        {"other": "1"},
    ],
)
def test_half_of_the_pair_is_taken(config: dict[str, str]) -> None:
    check_config(config)


# A Sub of two constants and an Identity, which ONNX Runtime's own optimisations remove.
TEXT = """agraph (float[N] x) => (float[N] y) {
    zero = Sub(one, one)
    a = Add(x, zero)
    b = Identity(a)
    y = Relu(b)
}"""


def described(path: str, header: dict[str, Any]) -> dict[str, Any]:
    """The child's side: make a session and tell what it was made with."""
    import onnxruntime as ort

    session = make_session(ort, path, SessionSettings.from_header(header))
    options = session.get_session_options()
    keys = (SPINNING, "session.disable_prepacking", "session.record_ep_graph_assignment_info")
    entries = {}
    for key in (*keys, "session.set_denormal_as_zero"):
        try:
            entries[key] = options.get_session_config_entry(key)
        except Exception:  # ONNX Runtime has no way to ask whether an entry is there
            entries[key] = None
    profile = ""
    answer = session.run(None, {"x": np.array([-1, 2], np.float32)})[0].tolist()
    if options.enable_profiling:
        profile = session.end_profiling()
    return {
        "level": int(options.graph_optimization_level),
        "threads": options.intra_op_num_threads,
        "memory_pattern": options.enable_mem_pattern,
        "arena": options.enable_cpu_mem_arena,
        "entries": entries,
        "providers": session.get_providers(),
        "profile": profile,
        "answer": answer,
    }


def session_of(folder: Path, settings: SessionSettings) -> dict[str, Any]:
    path = folder / "model.onnx"
    onnx.save(parse(TEXT, one=np.array(1, np.float32)), path)
    answer = ask(described, str(path), settings.to_header())
    assert not answer.failure
    found: dict[str, Any] = answer.value
    assert found["answer"] == [0, 2]
    return found


def test_session_with_defaults(tmp_path: Path) -> None:
    found = session_of(tmp_path, SessionSettings())
    assert (found["level"], found["threads"]) == (99, 0)
    assert found["memory_pattern"] is found["arena"] is True
    assert found["entries"] == {
        SPINNING: "0",
        "session.disable_prepacking": None,
        "session.record_ep_graph_assignment_info": None,
        "session.set_denormal_as_zero": None,
    }
    assert found["providers"] == [CPU]
    assert found["profile"] == ""


def test_session_is_told_everything(tmp_path: Path) -> None:
    settings = SessionSettings(
        level="basic",
        threads=2,
        spinning=True,
        memory_pattern=False,
        arena=False,
        prepacking=False,
        config={"session.set_denormal_as_zero": "1"},
        record_placement=True,
        profile_prefix=tmp_path / "timed",
    )
    found = session_of(tmp_path, settings)
    assert (found["level"], found["threads"]) == (1, 2)
    assert found["memory_pattern"] is found["arena"] is False
    assert found["entries"] == {
        SPINNING: "1",
        "session.disable_prepacking": "1",
        "session.record_ep_graph_assignment_info": "1",
        "session.set_denormal_as_zero": "1",
    }
    assert Path(found["profile"]).parent == tmp_path
    assert Path(found["profile"]).name.startswith("timed")


def test_config_outranks_the_named_settings(tmp_path: Path) -> None:
    found = session_of(tmp_path, SessionSettings(spinning=True, config={SPINNING: "0"}))
    assert found["entries"][SPINNING] == "0"


def nodes_after(path: str, header: dict[str, Any], to: str) -> list[str]:
    """The child's side: the operators that are left of a model at a level."""
    import onnxruntime as ort

    settings = SessionSettings.from_header(header)
    made: list[Any] = []

    class Watched:
        """The package, with a place to write the optimised model to."""

        GraphOptimizationLevel = ort.GraphOptimizationLevel
        InferenceSession = ort.InferenceSession

        @staticmethod
        def SessionOptions() -> Any:
            options = ort.SessionOptions()
            options.optimized_model_filepath = to
            made.append(options)
            return options

    make_session(Watched, path, settings)
    assert len(made) == 1
    return [node.op_type for node in onnx.load(to).graph.node]


@pytest.mark.parametrize(
    ("level", "left"), [("off", ["Sub", "Add", "Identity", "Relu"]), ("all", ["Add", "Relu"])]
)
def test_level_is_what_the_graph_went_through(tmp_path: Path, level: Any, left: list[str]) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(parse(TEXT, one=np.array([1], np.float32)), path)
    header = SessionSettings(level=level).to_header()
    answer = ask(nodes_after, str(path), header, str(tmp_path / "optimised.onnx"))
    assert not answer.failure
    assert answer.value == left


def test_option_that_the_provider_does_not_know_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(parse(TEXT, one=np.array(1, np.float32)), path)
    header = SessionSettings(Provider("NoSuchExecutionProvider")).to_header()
    answer = ask(described, str(path), header)
    # Either way it is the provider's absence that has to be told, never silent success on the CPU.
    assert answer.failure or "NoSuchExecutionProvider" not in answer.value["providers"]
