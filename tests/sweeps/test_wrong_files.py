"""Files of sweeps and studies made wrong at random: one line each, never a traceback."""

import ast
import os
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from quantlab import ConfigurationError
from sweeps.cli import main
from sweeps.loading import load_study
from tests.sweeps.sweep_files import STUDY, TINY, WITH_CHILD

WRONG = (
    *("None", "True", "-1", "0", "1.5", "float('nan')", "float('inf')", "10**30", "1j", "..."),
    *("''", "'x'", "'\\udcff'", "'a\\nb'", "'\\x1b[31m'", "'x' * 3000", "b'x'", "'²'", "'a.b'"),
    *("()", "(1,)", "(1, 1)", "('a', 'b')", "[1]", "{}", "{'a': 1}", "{1: 2}", "{None: None}"),
    *("{1, 2}", "(x for x in (1, 2))", "range(3)", "range(10**6)", "iter(())", "map(str, (1,))"),
    *("(lambda *a, **k: 0)", "(lambda: 1 / 0)", "object()", "int", "print", "Exception('x\\ny')"),
    *("np.arange(3)", "np.ones((2, 2))", "np.float32(0.1)", "np.array('x')", "np.array(None)"),
    *("torch.ones(2)", "torch.tensor(1)", "torch.empty(1, device='meta')", "torch.optim.SGD"),
    *("Axis", "Block", "Axis('x', 'epochs', (1, 2))", "Recipe", "Digits()", "Linear(1.0)"),
    *("Nearest()", "Nearest", "ConvNet()", "Odd()", "Odd", "Unprintable()", "sys", "sys.exit(0)"),
    *("sys.exit()", "1 / 0", "undefined", "[][0]", "deep()", "open('no file')", "exec('1 +')"),
)
"""Expressions that stand, one at a time, in the place of what a user would have written."""
FILES = 320 if "QUANTLAB_CHAOS" in os.environ else 80  # `make chaos` makes more

BESIDE = """
import sys

import numpy as np
import torch


class Odd:
    __eq__ = None


class Unprintable:
    def __repr__(self):
        raise RuntimeError("not today")


def deep():
    return deep()

"""


def another_value(text: str, rng: random.Random) -> str:
    """An expression somewhere is another one."""
    tree = ast.parse(text)
    places = [
        (node, name, position)
        for node in ast.walk(tree)
        for name, value in ast.iter_fields(node)
        for position, item in enumerate(value if isinstance(value, list) else [value])
        if isinstance(item, ast.expr) and not isinstance(getattr(item, "ctx", None), ast.Store)
    ]
    node, name, position = rng.choice(places)
    new = ast.parse(rng.choice(WRONG), mode="eval").body
    if isinstance(getattr(node, name), list):
        getattr(node, name)[position] = new
    else:
        setattr(node, name, new)
    return BESIDE + ast.unparse(ast.fix_missing_locations(tree))


def without_something(text: str, rng: random.Random) -> str:
    """A statement, an argument or an item of a tuple is missing or repeated."""
    tree = ast.parse(text)
    lists = [
        value
        for node in ast.walk(tree)
        for _, value in ast.iter_fields(node)
        if isinstance(value, list) and value and isinstance(value[0], ast.AST)
    ]
    items = rng.choice(lists)
    position = rng.randrange(len(items))
    items[position : position + 1] = rng.choice(([], [items[position]] * 2))
    return ast.unparse(tree)


def other_letters(text: str, rng: random.Random) -> str:
    """Letters are missing, doubled or others."""
    for _ in range(rng.choice((1, 1, 1, 3))):
        place = rng.randrange(len(text))
        new = rng.choice(("", text[place] * 2, rng.choice("()[]{},:=.'\"\\ \n\t#0\x00\u00b2é")))
        text = text[:place] + new + text[place + 1 :]
    return text


def other_lines(text: str, rng: random.Random) -> str:
    """A line is missing, or stands elsewhere."""
    lines = text.splitlines(keepends=True)
    line = lines.pop(rng.randrange(len(lines)))
    if rng.random() < 0.5:
        lines.insert(rng.randrange(len(lines)), line)
    return "".join(lines)


MADE_WRONG = (another_value, another_value, another_value, without_something, other_letters)


@pytest.fixture(autouse=True)
def quiet() -> None:
    warnings.simplefilter("ignore")  # of what the wrong texts do, such as `1 is 1`


def wrong_text(text: str, seed: int) -> str:
    rng = random.Random(seed)
    change: Callable[[str, random.Random], str] = rng.choice((*MADE_WRONG, other_lines))
    try:
        return change(text, rng)
    except (SyntaxError, ValueError):  # no expression may stand in some places
        return other_lines(text, rng)


def test_sweeps_made_wrong_are_told_of_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "wrong.py"
    (tmp_path / "runs").mkdir()
    codes = []
    for seed in range(FILES):
        text = wrong_text(WITH_CHILD if seed % 4 == 0 else TINY, seed)
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        try:
            codes.append(main(["plan", "wrong.py"]))
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error!r} of\n{text}") from error
        told = capsys.readouterr()
        lines = told.err.splitlines()
        if "print" in text:  # what the file prints while it is tried goes before
            lines = [line for line in lines if line.startswith("sweeps: ")]
        if codes[-1] == 0:
            assert lines == [], (seed, lines, text)
            assert "all " in told.out
        else:
            assert codes[-1] == 2, (seed, text)
            assert len(lines) == 1, (seed, lines, text)
            assert lines[0].startswith("sweeps: error: "), (seed, lines)
            assert len(lines[0]) < 1500, (seed, lines)
    assert 0.47 * FILES < codes.count(2) < 0.968 * FILES  # most of them are wrong, and not all
    assert not list(tmp_path.glob("runs/*"))


def test_studies_made_wrong_are_told_of_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    told = []
    for seed in range(120):
        text = wrong_text(STUDY, seed)
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        try:
            load_study(str(file)).require_valid()
        except ConfigurationError as error:
            told.append(str(error))
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error!r} of\n{text}") from error
    assert len(told) > 50
    assert [text for text in told if len(text.splitlines()) != 1] == []
