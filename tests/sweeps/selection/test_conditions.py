"""Conditions: what they mean, and what text that is none is told."""

from collections.abc import Sequence
from operator import ge, gt, le, lt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quantlab import ConfigurationError
from sweeps.selection.choice import chosen_places
from sweeps.selection.conditions import Condition, Value, parse
from sweeps.selection.seeds import parse_seeds

TRIALS = [
    {"method": method, "set": levels, "rho0": rho0, "seed": str(seed)}
    for method, levels, rho0 in (
        ("PC", "binary", "0.0001"),
        ("PC", "ternary", "0.1"),
        ("PQ", "ternary", "1e-05"),
        ("rPC", "binary", "0.1"),
    )
    for seed in (0, 1)
] + [{"method": "FP", "seed": "0"}]

LABELS = st.text(min_size=1, max_size=8)
NAMES = st.sampled_from(["method", "rho0", "a.b", "lr-scale"])


def chosen(*only: str) -> list[dict[str, str]]:
    return [TRIALS[place] for place in chosen_places(TRIALS, only, "sweep mine")]


@pytest.mark.parametrize(
    ("only", "methods"),
    [
        ("method=PC", "PC PC PC PC"),
        ("method=*PC,set=binary", "PC PC rPC rPC"),
        ("method=P[CQ],seed=0", "PC PC PQ"),
        ("method = PC | FP , seed = 1", "PC PC"),
        ("method!=PC|PQ", "rPC rPC FP"),
        ("set!=binary,seed=0", "PC PQ FP"),
        ("set!=*", "FP"),
        ("rho0=1e-4", "PC PC"),
        ("rho0=0.00001|1e-4,seed=1", "PC PQ"),
        ("rho0>=0.1", "PC PC rPC rPC"),
        ("rho0<0.0001", "PQ PQ"),
        ("rho0>1e-5,rho0<=1e-1,seed<1", "PC PC rPC"),
        ('method="PC",seed="0"', "PC PC"),
    ],
)
def test_the_trials_that_fulfil_all_conditions_are_chosen(only: str, methods: str) -> None:
    assert [trial["method"] for trial in chosen(only)] == methods.split()


def test_several_options_hold_together() -> None:
    assert chosen("method=PC", "set=ternary", "seed=1") == [TRIALS[3]]


@pytest.mark.parametrize(
    ("only", "says"),
    [
        ("", "a condition is missing"),
        ("method=PC,", "a condition is missing"),
        ("rho0", "'rho0' is no condition"),
        ("method=PC,PQ", "'PQ' is no condition"),
        ("=PC", "'=PC' is no condition"),
        ("method=", "a value of method is missing"),
        ("method=PC|", "a value of method is missing"),
        ("method=|PC", "a value of method is missing"),
        ("rho0>=high", "rho0>= takes one number, not 'high'"),
        ("rho0<0.1|0.2", "rho0< takes one number, not '0.1|0.2'"),
        ("rho0<nan", "rho0< takes one number, not 'nan'"),
        ("size=(8, 8", "a bracket of '(8, 8' is not closed"),
        ('method="PC"x', "after a value in quotes, 'x' is too much"),
        ("metod=PC", "no trial of sweep mine has 'metod' (did you mean 'method'?)"),
        ("method=PC|XX", "no trial of sweep mine has method 'XX'"),
        ("method!=FPX", "no trial of sweep mine has method 'FPX' (did you mean 'FP'?)"),
        ("method=[", "a bracket of '[' is not closed"),
        ("rho0>1", "no trial of sweep mine has rho0>1"),
        ("method>1", "no trial of sweep mine has method>1"),
        ("method=FP,rho0>0", "no trial of sweep mine with method=FP has rho0>0"),
    ],
)
def test_what_means_no_trial_is_told_in_one_line(only: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        chosen(only)
    message = str(error.value)
    assert message.startswith(f"--only {only}: {says}")
    assert "\n" not in message


def test_a_wrong_name_or_value_is_told_what_there_is() -> None:
    lists = "there are method = FP, PC, PQ, rPC; set = binary, ternary; rho0 = 1e-05, 0.0001, 0.1; "
    for only in ("metod=PC", "method=XX", "rho0>1"):
        with pytest.raises(ConfigurationError) as error:
            chosen(only)
        assert str(error.value).endswith(f"{lists}seed = 0, 1")
    with pytest.raises(ConfigurationError, match="with method=FP has rho0>0; there are method = F"):
        chosen("method=FP,rho0>0")


def test_a_long_list_of_values_is_cut() -> None:
    many = [{"size": str(size)} for size in range(40, 0, -1)]
    with pytest.raises(ConfigurationError, match=r"size = 1, 2, .*, 12, \.\.\. \(40 values\)$"):
        chosen_places(many, ["size=x"], "sweep mine")


@given(st.lists(LABELS, min_size=1, max_size=6), st.data())
def test_a_label_in_quotes_means_the_trials_that_have_it(
    labels: list[str], data: st.DataObject
) -> None:
    label = data.draw(st.sampled_from(labels))
    trials = [{"axis": one} for one in labels]
    text = f"axis={Value(label, is_quoted=True)}"
    assert chosen_places(trials, [text], "sweep mine") == [
        place for place, one in enumerate(labels) if one == label
    ]


@given(
    st.lists(
        st.builds(
            Condition,
            NAMES,
            st.sampled_from(["=", "!="]),
            st.lists(st.builds(Value, LABELS, st.just(True)), min_size=1, max_size=3).map(tuple),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_conditions_are_read_as_they_are_written(conditions: Sequence[Condition]) -> None:
    assert list(parse(",".join(map(str, conditions)))) == list(conditions)


@given(st.text(max_size=30))
def test_any_text_chooses_trials_or_is_refused_in_one_line(text: str) -> None:
    trials, message = _chosen_or_message(text)
    assert bool(trials) != bool(message)
    assert message == "" or message.startswith("--only ")
    assert len(message.splitlines()) <= 1


def _chosen_or_message(text: str) -> tuple[list[dict[str, str]], str]:
    try:
        return chosen(text), ""
    except ConfigurationError as error:
        return [], str(error)


def test_a_number_of_six_digits_means_one_that_tables_print_so() -> None:
    """As earlier releases wrote labels, and so the conditions of their recorded commands."""
    known = {repr(1 / 3), "0.5", "0.1"}

    def means(text: str, labels: set[str] = known) -> set[str]:
        (condition,) = parse(text)
        return condition.labels(labels)

    assert means("rho0=0.333333") == means("rho0=0.333333|7") == {repr(1 / 3)}
    assert means("rho0<=0.333333") == {repr(1 / 3), "0.1"}
    assert means("rho0>=0.333333") == {repr(1 / 3), "0.5"}
    assert means("rho0<0.333333") == {"0.1"}
    assert means("rho0>0.333333") == {"0.5"}
    assert means("rho0=0.3333333") == set()  # none is this number, and none is printed so
    exact = {repr(1 / 3), "0.333333"}
    assert means("rho0=0.333333", exact) == means("rho0<=0.333333", exact) == {"0.333333"}


@given(st.lists(st.floats(0, 10), min_size=1, max_size=6), st.floats(0, 10))
def test_comparisons_are_those_of_numbers(numbers: list[float], limit: float) -> None:
    assume(all(number == limit or f"{number:g}" != repr(limit) for number in numbers))
    labels = {repr(number) for number in numbers}
    for symbol, compare in ((">=", ge), ("<", lt), (">", gt), ("<=", le)):
        (condition,) = parse(f"axis{symbol}{limit!r}")
        found = condition.labels(labels | {"by layer"})
        assert found == {repr(number) for number in numbers if compare(number, limit)}


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", (3,)), ("0-3", (0, 1, 2, 3)), (" 5, 0-1 ,9", (5, 0, 1, 9)), ("7-7", (7,))],
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "-1", "1.5", "0,,1", "0-99999999", "9" * 20])
def test_other_text_is_no_seeds(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^--seeds .*such as 0-9"):
        parse_seeds(text)


def test_a_reversed_range_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"^--seeds 0,3-1: .*'3-1' is reversed; give 1-3$"):
        parse_seeds("0,3-1")


def test_each_seed_is_given_once() -> None:
    with pytest.raises(ConfigurationError, match=r"^--seeds 0-2,1 = .*each once"):
        parse_seeds("0-2,1")
