from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from junitparser import JUnitXml

from graphopt.errors import UsageError
from graphopt.report import Loss
from graphopt.report.batch import Batch, ModelOutcome, render_batch, write_batch
from graphopt.report.junit import Judgement
from graphopt.report.markdown import to_markdown
from graphopt.report.text import plain
from tests.report.samples import report, stats, verification

EXACT = report(verification=verification(losses=()), source="exact.onnx")
LOSSY = report(
    source="lossy.onnx", status="unverified", after=stats(nodes=1000, file_bytes=275_000),
    changed=False,
)  # fmt: skip
DONE = ModelOutcome("exact.onnx", 0, None, EXACT)
REFUSED = ModelOutcome("lossy.onnx", 1, "unverified", LOSSY)
BROKEN = ModelOutcome("a|b[/]\x1b.onnx", 3, "a|b[/]\x1b.onnx: no such file", None)


def rows(*models: ModelOutcome, code: int = 0) -> list[str]:
    return plain(render_batch(Batch(code, models)), width=160).splitlines()


def test_a_row_for_each_model() -> None:
    head, exact, total = rows(DONE)
    assert head.split() == ["model", "nodes", "bytes", "ratio", "status", "seconds"]
    assert "1,234 -> 1,000" in exact
    assert "1,100,000 -> 1,100,000  1.000  verified" in exact
    assert exact.endswith(" 1.2")
    assert total == "1 models, 1 done; 1,100,000 -> 1,100,000 bytes, ratio 1.000"


def test_the_worse_loss_is_shown_where_there_is_one() -> None:
    head, exact, lossy, _ = rows(DONE, REFUSED)
    assert head.split()[4:] == ["loss", "status", "seconds"]
    assert " 42.5 dB " in lossy
    assert " dB " not in exact


def test_no_loss_at_all_is_infinite() -> None:
    none = Loss("all", math.inf, 0.0, None)
    same = report(verification=verification(losses=(none, none)))
    assert " inf dB " in rows(ModelOutcome("same.onnx", 0, None, same))[1]


def test_what_was_not_written_says_why() -> None:
    *_, lossy, broken, total = rows(DONE, REFUSED, BROKEN, code=3)
    assert "UNVERIFIED, nothing to change, not written: unverified" in lossy
    assert broken.split() == ["a|b[/]\\x1b.onnx", "error"]
    assert total == (
        "3 models, 1 done, 2 not; 1,100,000 -> 1,100,000 bytes, ratio 1.000; exit code 3"
    )


def test_long_names_are_shown_whole() -> None:
    name = "/".join(["folder"] * 40) + ".onnx"
    text = "".join(rows(ModelOutcome(name, 3, "no", None)))
    assert name in "".join(text.split()).replace("error", "")


def test_no_model_was_read() -> None:
    assert rows(BROKEN, code=3)[-1] == "1 models, 0 done, 1 not; exit code 3"


def test_json(tmp_path: Path) -> None:
    batch = Batch(3, (DONE, BROKEN))
    write_batch(batch, tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["exit_code"], found["schema"]) == (3, 1)
    assert [item["model"] for item in found["models"]] == [DONE.model, BROKEN.model]
    assert found["models"][0]["report"]["source"] == "exact.onnx"
    assert found["models"][1]["report"] is None
    assert found["models"][1]["error"] == BROKEN.error


def test_markdown(tmp_path: Path) -> None:
    write_batch(Batch(3, (DONE, REFUSED, BROKEN)), tmp_path / "r.md")
    text = (tmp_path / "r.md").read_text()
    table, _, rest = text.partition("\n\n")
    lines = table.splitlines()
    assert len(lines) == 5
    assert lines[1] == "|---|--:|--:|--:|--:|---|--:|"
    assert lines[4].startswith("| a\\|b[/]\\x1b.onnx | ")
    assert "- error: a|b[/]\\x1b.onnx: no such file" in rest
    assert to_markdown(EXACT) in rest
    assert to_markdown(LOSSY) in rest


def test_junit(tmp_path: Path) -> None:
    write_batch(Batch(3, (REFUSED, BROKEN)), tmp_path / "r.xml", Judgement(strict=True))
    first, second = JUnitXml.fromfile(str(tmp_path / "r.xml"))
    assert (first.name, first.errors, second.errors) == ("lossy.onnx", 0, 1)
    assert first.failures >= 1
    (case,) = second
    assert (case.name, case.classname) == ("run", "a|b[/]\\x1b")
    assert [type(result).__name__ for result in case.result] == ["Error"]
    assert case.result[0].message == "a|b[/]\\x1b.onnx: no such file"


def test_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown suffix"):
        write_batch(Batch(0, (DONE,)), tmp_path / "r.txt")
    assert not list(tmp_path.iterdir())
