"""Tables within the width of a terminal, in which every number and every letter is whole."""

import random
import string

import pytest
from rich.text import Text

from sweeps.terminal.table import Column, as_text, fitted


def column(header: str, *cells: str, is_text: bool = False) -> Column:
    return Column(header, [Text(cell) for cell in cells], is_text=is_text)


def test_texts_are_aligned_to_the_left_and_numbers_to_the_right() -> None:
    columns = column("block", "PC", "BC long", is_text=True), column("trials", "7", "123")
    assert as_text(fitted(columns, 80), 80).splitlines() == [
        "block    trials",
        "───────────────",
        "PC            7",
        "BC long     123",
    ]


def test_text_takes_more_lines_before_anything_else_gives_way() -> None:
    columns = column("cost", "ResNet20 on CIFAR-10", is_text=True), column("h", "12.25 h")
    table = as_text(fitted(columns, 20), 20)
    assert table.splitlines()[2:] == ["ResNet20 on  12.25 h", "CIFAR-10"]


def test_a_wide_table_continues_below_with_its_first_column() -> None:
    numbers = [column(f"n{place}", "1234.5") for place in range(6)]
    text = as_text(fitted([column("set", "binary", is_text=True), *numbers], 24), 24)
    assert [part.split() for part in text.split("\n") if part.startswith("binary")] == [
        ["binary", "1234.5", "1234.5"]
    ] * 3


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("width", [30, 80])
def test_nothing_is_cut_or_too_wide(seed: int, width: int) -> None:
    draw = random.Random(seed)

    def words(most: int) -> str:
        lengths = (draw.randint(1, 12) for _ in range(draw.randint(1, most)))
        return " ".join("".join(draw.choices(string.ascii_letters, k=k)) for k in lengths)

    rows = range(3)
    columns = [
        column("what", *(words(6) for _ in rows), is_text=True),
        *(column(f"n{place}", *(f"{draw.random():.6f}" for _ in rows)) for place in range(9)),
        column("source", *(words(6) for _ in rows), is_text=True),
    ]
    text = as_text(fitted(columns, width), width)
    assert max(map(len, text.splitlines())) <= width
    for own in columns:
        for cell in own.cells:
            assert set(cell.plain.split()) <= set(text.split())


def test_a_single_number_may_be_wider_than_the_terminal() -> None:
    columns = column("name", "PC", is_text=True), column("n", "1" * 40)
    assert "PC    " + "1" * 40 in as_text(fitted(columns, 20), 20)
