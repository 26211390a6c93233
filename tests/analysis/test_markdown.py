"""Tables in Markdown: the same text as that of tabulate, which takes ten times as long."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from analysis.tables.table import Table

CELLS = st.text(alphabet="ab 1.±ρ–日é", max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5))
def test_a_pipe_table_is_tabulates(rows: list[tuple[str, str, str]]) -> None:
    body = pd.DataFrame(rows, columns=["", "ρ0", "日本"])
    caption, text = Table("name", "Section", "Caption.", body).markdown().split("\n\n")
    assert caption == "**Caption.**"
    assert text == body.to_markdown(index=False, disable_numparse=True) + "\n"
