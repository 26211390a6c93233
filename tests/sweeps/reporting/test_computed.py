"""The options that compute trials as they were computed, and the description of both."""

from typing import Any

from quantlab.execution import DEFAULT_EXECUTION, parse_execution
from sweeps.reporting.computed import description_of, options_of, origin_of
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


def test_the_head_of_a_report_names_commands_machines_and_versions() -> None:
    assert origin_of([]) == origin_of([result()]) == {}
    packed = {"command": "sweeps run a.py --pack 9", "host": "box", "processor": "Z80, 8 bits"}
    first = result(packages='{"python": "3.11.7", "torch": "2.15.0"}', **packed)
    assert origin_of([first, first]) == {
        "trained by": "sweeps run a.py --pack 9",
        "trained on": "box, Z80, 8 bits",
        "trained with": "python 3.11.7, torch 2.15.0",
    }
    other = result(
        packages='{"python": "3.11.7", "torch": "2.16.0"}', command="sweeps run a.py", host="node"
    )
    assert origin_of([other, first, first]) == {
        "trained by": "sweeps run a.py --pack 9 (2 of 3 trials); sweeps run a.py (1 of 3 trials)",
        "trained on": "box, Z80, 8 bits (2 of 3 trials); node, cpu (x86_64) (1 of 3 trials)",
        "trained with": "python 3.11.7, torch 2.16.0 and 2.15.0",
    }
    many = origin_of([result(command=f"sweeps run {number}.py") for number in range(6)])
    assert many["trained by"].endswith("; and 2 more")
