"""README is short. test_docs.py runs what it says, and follows where it leads."""

from tests.markdown import ROOT

MOST_LINES = 180


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
