"""The options that compute trials as they were computed, and the description of both."""

from typing import Any

from quantlab.execution import DEFAULT_EXECUTION, parse_execution
from sweeps.reporting.computed import description_of, options_of
from sweeps.storage.records import Result, TrialState


def result(**changes: Any) -> Result:
    values: dict[str, Any] = {"execution": str(DEFAULT_EXECUTION), "device": "cpu (x86_64)"}
    test = {"accuracy": 0.9}
    return Result(state=TrialState.COMPLETE, time=0.0, epochs=1, test=test, **values | changes)


def test_defaults_need_no_option() -> None:
    assert options_of([]) == []
    assert options_of([result(), result(execution="")]) == []
    assert description_of([]) == ""
    text = description_of([result(), result()])
    assert text.startswith("2 trained alone; on cpu (x86_64); bit-identical numbers need")


def test_packs_and_execution_are_part_of_the_command() -> None:
    other = str(parse_execution("bf16,no-deterministic,threads=2"))
    results = [*(result(pack=9, execution=other),) * 9, *(result(pack=3),) * 3, result()]
    assert options_of(results) == ["--pack", "9", "--execution", "bf16,no-deterministic,threads=2"]
    assert parse_execution(options_of(results)[-1]) == parse_execution(other)
    assert description_of(results).startswith(
        "9 in packs of 9, 3 in packs of 3, 1 trained alone; on cpu (x86_64); execution "
        "bf16,no-deterministic,threads=2 and default; bit-identical numbers need"
    )
