"""README is short, and leads to every page. test_docs.py runs what it says."""

import re

from tests.markdown import PAGES, ROOT, links

MOST_LINES = 180


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES


def test_the_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    index = text[text.index("## Documentation") :]
    listed = set(re.findall(r"\]\(([\w/.]+\.md)\)", index))
    assert listed == {str(page.relative_to(ROOT)) for page in PAGES} - {"README.md"}
    assert listed < set(links(ROOT / "README.md"))
