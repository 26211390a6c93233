"""Names of the reports on several sources."""

import pytest

from sweeps.joining.naming import joined_name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (joined_name(["digits"]), joined_name(["digits"], by="sweep")),
        (joined_name(["digits"], by="tag"), joined_name(["digits"], by="sweep")),
        (
            joined_name(["trials", "trials"], ["/a/trials.csv", "/b/trials.csv"]),
            joined_name(["trials", "trials"], ["/a/trials.csv", "/c/trials.csv"]),
        ),
        (
            joined_name(["runs"], ["/a/runs"], is_ambiguous=True),
            joined_name(["runs"], ["/b/runs"], is_ambiguous=True),
        ),
    ],
)
def test_reports_on_other_sources_have_other_names(one: str, other: str) -> None:
    assert one != other


def test_the_order_of_the_sources_has_no_effect() -> None:
    assert joined_name(["mine", "digits"]) == joined_name(["digits", "mine"]) == "digits-and-mine"
    both = [(["trials", "trials"], ["/a/t", "/b/t"]), (["trials", "trials"], ["/b/t", "/a/t"])]
    assert len({joined_name(names, places) for names, places in both}) == 1
