from __future__ import annotations

from tests.report.bench_reports import sample_environment


def test_machine_is_processor_cores_and_devices() -> None:
    assert sample_environment().machine == "Some CPU 9000, 2 cores, Some GPU"
    assert sample_environment(devices=[], load=9.0).machine == "Some CPU 9000, 2 cores"
