"""Conditions on the columns of a table of trials."""

import pandas as pd
import pytest

from analysis.joining.where import ConditionError, counts_by_method, fulfilled
from tests.analysis.frames import EXAMPLE, trials

TABLE = trials(EXAMPLE).assign(
    **{
        "axis.theta": ["0.5", "1"] * 5,
        "recipe.epochs": ["5", "6"] * 5,  # as in a CSV file, which has text there
        "recipe.nesterov": [True, False] * 5,
        "recipe.odd name": 3,
    }
)


@pytest.mark.parametrize(
    ("condition", "query"),
    [
        ("method != 'PQ' and seed < 1", "method != 'PQ' and seed < 1"),
        ("method not in ('PC', 'FP') & seed == 0", "method not in ('PC', 'FP') and seed == 0"),
        ("~(seed == 1) | method == 'PC'", "not (seed == 1) or method == 'PC'"),
        ("0 <= rho0 < 0.1", "0 <= rho0 < 0.1"),
        ("rho0 * 10 < 1 or set == ''", "rho0 * 10 < 1 or set == ''"),
        ("rho0 != 0.01", "rho0 != 0.01"),
        ("seed % 2 == 1", "seed % 2 == 1"),
        ("not (state == 'DIVERGED')", "not (state == 'DIVERGED')"),
        ("test_accuracy - validation_accuracy > 0", "test_accuracy - validation_accuracy > 0"),
        ("seed == -1", "seed == -1"),
    ],
)
def test_a_condition_chooses_the_rows_that_pandas_query_does(condition: str, query: str) -> None:
    pd.testing.assert_frame_equal(TABLE[fulfilled(TABLE, condition)], TABLE.query(query))


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("theta >= 1", 5),
        ("axis.theta == '1'", 5),
        ("recipe.epochs == 6", 5),
        ("epochs == 3", 10),  # the column, not the setting
        ("nesterov == True", 5),
        ("`odd name` == 3", 10),
        ("`odd name` in ['3']", 10),
    ],
)
def test_axes_and_settings_are_numbers_or_text_as_they_are_compared(
    condition: str, count: int
) -> None:
    assert fulfilled(TABLE, condition).sum() == count


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ("seed * 4 > 0", [1, 2]),
        ("seed * 4 == 0", [0]),
        ("seed + seed + seed < 0", [3]),
        ("seed + 9223372036854775807 > 0", [0, 1, 2, 3]),
        ("seed + 99999999999999999999999 > 1", [0, 1, 2, 3]),
        ("seed % 18446744073709551616 == 1", [1]),
        ("seed == limit", [1]),
        ("limit == 18446744073709551617", [2]),
        ("limit == 9007199254740993", [3]),
        ("limit in [9007199254740992, 18446744073709551616]", []),
        ("count - 10 > 0", [0]),
        ("-count < 0", [0, 1, 2, 3]),
        ("limit / seed > 4", [0]),
        ("limit % seed == 1", [2]),
    ],
)
def test_integers_are_exact_beyond_the_64_bits_of_a_column(
    condition: str, chosen: list[int]
) -> None:
    large = TABLE[:4].assign(
        **{
            "seed": [0, 1, 2**62, -(2**62)],
            "axis.limit": ["4", "1", "18446744073709551617", "9007199254740993"],
            "recipe.count": pd.Series([2**63 + 5, 1, 2, 3], dtype="uint64"),
        }
    )
    kept = fulfilled(large, condition)
    assert [place for place, is_kept in enumerate(kept) if is_kept] == chosen


def test_a_column_divided_by_zero_is_infinite_or_missing() -> None:
    assert fulfilled(TABLE, "1 / seed > 1e308").tolist() == (TABLE["seed"] == 0).tolist()
    assert fulfilled(TABLE, "1 % (seed - seed) != 1 % (seed - seed)").all()
    assert fulfilled(TABLE, "seed / (seed - seed) != 1 / (seed - seed)").tolist() == (
        (TABLE["seed"] == 0).tolist()
    )


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            "methd == 'PC'",
            r"no column 'methd' \(did you mean 'method'\?\); the columns are sweep, ",
        ),
        ("method == 'pc'", r"no trial has 'pc' in column 'method'.*; there are 'BC', 'FP', 'PC'"),
        ("method in ['PC', 'rPC']", r"no trial has 'rPC' .* \(did you mean 'PC'\?\)"),
        ("seed == '1'", "column 'seed' has numbers; write them without quotes"),
        ("method == 3", "column 'method' has text, such as 'BC', 'FP', 'PC', ...; compare it wit"),
        ("method < 'PQ'", "text, which has no order"),
        ("'method' != 'PC' and seed < 3", "'method' and 'PC' are both text in quotes; write"),
        ("seed == [1]", r"\[1\] must be one value"),
        ("'P' in method", r"method must be a list such as \['PC', 'PQ'\] after `in`"),
        ("seed is 1", "`is` compares no values"),
        ("seed", "seed is no comparison"),
        ("seed < ", "is no condition; it may have columns"),
        ("1 < 2", "names no column; the columns are"),
        ("seed ** 9 > 1", r"seed \*\* 9 is not allowed"),
        ("__import__('os').system('true') == 0", "is not allowed"),
        ("method.str.len() == 2", r"method.str.len\(\) is not allowed"),
        ("seed.real == 1", "no column 'seed.real'"),
        ("(lambda: 1)() == seed", "is not allowed"),
        ("@pd == seed", "is no condition"),
        ("(seed := 1) == 1", r"\(seed := 1\) is not allowed"),
        ("[s for s in seed] == 1", "is not allowed"),
        ("seed == True", "column 'seed' has numbers"),
        ("seed + [1, 2] == 3", r"\[1, 2\] is not allowed"),
        ("seed == [1, 2] * 1000000000", r"\[1, 2\] is not allowed"),
        ("[1, 2] == seed", r"\[1, 2\] must be one value"),
        ("['PC', 'PQ'] == method", r"\['PC', 'PQ'\] must be one value"),
        ("seed < 1/0", "cannot be computed: division by zero"),
        ("seed < 10 % 0", "cannot be computed: "),
        (f"seed < {'9' * 400} / 3", "cannot be computed: "),
        (f"seed < 1{' + seed' * 3000}", "is no condition"),
        (f"{'not (seed < 1 or ' * 180}seed < 1{')' * 180}", "has too many parts"),
        ("not " * 5000 + "seed == 1", "is no condition"),
    ],
)
def test_anything_else_is_refused_in_one_line(condition: str, message: str) -> None:
    with pytest.raises(ConditionError, match=message) as raised:
        fulfilled(TABLE, condition)
    assert "\n" not in str(raised.value)


def test_what_is_left_out_is_counted_by_method() -> None:
    assert counts_by_method(TABLE) == "2 of BC, 2 of FP, 4 of PC, 2 of PQ"
