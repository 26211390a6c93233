"""The code blocks, commands and links of the pages in Markdown."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HIDDEN = re.compile(r"<!-- long: [^>]+ -->\n\Z")
_NEEDS = re.compile(r"<!-- needs: (\w+) -->\n\Z")
_DURATION = re.compile(r"\b(minutes|hours|days|until you)\b")
"""What the comment of a command that takes long has."""


@dataclass(frozen=True)
class Command:
    """A line of a block of commands."""

    text: str
    """Without its comment."""
    is_long: bool


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    before: str
    """Text of the page before it."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_long(self) -> bool:
        """Whether a comment before it, which readers do not see, says why it is not run."""
        return _HIDDEN.search(self.before) is not None

    @property
    def needs(self) -> str | None:
        """The package that a comment before it names, and that the tests may lack."""
        found = _NEEDS.search(self.before)
        return found and found.group(1)

    @property
    def file(self) -> str:
        """Name under which the page says that it is saved.

        It is the last word of the paragraph before it: "This is `networks.py`:". That of a sweep
        may be anywhere in the paragraph, or in the heading. Any other code is a script.
        """
        paragraph = self.before.rstrip().rpartition("\n\n")[2]
        names = re.findall(r"`(\w+\.py)`:$", paragraph)
        if not names and re.search("^(SWEEP|STUDY) = ", self.text, re.MULTILINE):
            heading = re.findall(r"^#+ .*$", self.before, re.MULTILINE)[-1]
            names = re.findall(r"`(\w+\.py)`", f"{heading} {paragraph}") or ["sweep.py"]
        return names[-1] if names else f"line_{self.line}.py"

    @cached_property
    def commands(self) -> list[Command]:
        """Its commands, if it is one of commands."""
        if self.language != "sh":
            return []
        found = []
        for line in self.text.replace("\\\n", " ").splitlines():
            text, *comment = re.split(r"\s#\s", line, maxsplit=1)
            if text.strip():
                is_long = self.is_long or any(_DURATION.search(each) for each in comment)
                found.append(Command(" ".join(text.split()), is_long))
        return found


def blocks(page: Path) -> list[Block]:
    """The blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text[: found.start()].count("\n") + 1,
            found.group(1),
            found.group(2),
            text[: found.start()],
        )
        for found in _FENCE.finditer(text)
    ]


def inline_commands(page: Path) -> Iterator[list[str]]:
    """The words of every command in the text of a page, between backticks."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for found in re.findall(r"`((?:sweeps|make|python) [^`]+)`", text):
        yield shlex.split(found.replace("\\|", "|"))


def links(page: Path) -> Iterator[str]:
    """Where the links and pictures of a page lead, without those to other sites."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            yield target


def anchors(page: Path) -> set[str]:
    """The names of the headings of a page in links."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = (re.sub(r"[`*\\]|\[|\]\([^)]*\)", "", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}
