"""Every control of a report's page, with a pointer and with the keyboard, on several screens."""

import os
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from analysis.columns import HISTORY
from analysis.report.failures import FailedTrial
from analysis.report.sweep import write_report
from analysis.report.trials import TrialLinks
from analysis.schema import Measurements
from tests.analysis.frames import grid, trials
from tests.pages import NEEDS_BROWSER, Explored, fits_and_is_legible, requested, screen

pytestmark = NEEDS_BROWSER

CHARTS = {
    "values": ".mark-symbol path[fill='{}']",
    "curves": ".mark-line path[stroke='{}']",
    "parallel": ".mark-path path[stroke='{}']",
}
"""Chart -> its marks of a colour."""
WAYS = [(1280, "light", "keys"), (390, "dark", "pointer")]
if "QUANTLAB_CHAOS" in os.environ:  # `make chaos` takes all eight
    WAYS = list(product((1280, 390), ("light", "dark"), ("pointer", "keys")))
"""Screens, and what the controls are used with on them.

Each control is used in both ways, and on both screens. The order and the rings of the focus are
looked at on both, and nothing is further out of view on the wide one.
"""


def made() -> Measurements:
    """50 configurations of two datasets with two seeds each, and curves over four epochs."""
    parts = []
    for dataset, least in (("Digits", 0.5), ("Letters", 0.4)):
        frame = pd.concat(
            [
                trials([("FP", "", None, seed, 0.97 + 0.01 * seed) for seed in (0, 1)]),
                grid(
                    lambda method, levels, place, seed, least=least: (
                        least + 0.08 * place + 0.05 * (method == "PC") + 0.02 * seed
                    ),
                    methods=("PC", "PQ", "rPC"),
                    rho0=(1e-3, 1e-2, 1e-1, 1.0),
                    seeds=2,
                ),
            ],
            ignore_index=True,
        )
        numbers = [f"{dataset.lower()}{number}" for number in range(len(frame))]
        parts.append(
            frame.assign(
                dataset=dataset,
                trial_id=numbers,
                configuration_id=dataset + frame["configuration_id"],
                name=dataset + " " + frame["name"],
                **{"recipe.method": frame["method"]},
            )
        )
    table = pd.concat(parts, ignore_index=True)
    epochs = pd.DataFrame({"epoch": range(1, 5), "stage": [*["quantize"] * 3, "batchnorm"]})
    history = table[["trial_id", "test_accuracy"]].merge(epochs, how="cross")
    history["validation_accuracy_hard"] = history["test_accuracy"] * history["epoch"] / 4
    return Measurements(table, history=history.reindex(columns=list(HISTORY), fill_value=0.5))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder, measurements = tmp_path_factory.mktemp("controls"), made()
    write_report(
        measurements,
        folder,
        title="Made",
        facts={"a": "b"},
        formats=["html"],
        links={
            name: TrialLinks(f"trials/{name}", f"http://127.0.0.1:5000/#/runs/{name}")
            for name in measurements.trials["trial_id"]
        },
        failed=[FailedTrial(f"PC seed={n}", f"{n}", "too large", "o.txt") for n in range(4)],
    )
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module", params=WAYS, ids="{0[0]}-{0[1]}-{0[2]}".format)
def loaded(
    browser: webdriver.Chrome, page: str, request: pytest.FixtureRequest
) -> Iterator[Explored]:
    """The page on a screen, which asks for nothing else and has no errors until the last test."""
    requested(browser)
    part = Explored(browser)
    width, scheme, _ = request.param
    with screen(browser, width, scheme):
        browser.get(page)
        part.drawn()
        yield part
    assert not [address for address in requested(browser)[1:] if not address.startswith("data:")]
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def explored(loaded: Explored) -> Explored:
    loaded.reset()
    return loaded


@pytest.fixture
def how(request: pytest.FixtureRequest) -> str:
    """What the controls are used with; see `WAYS`."""
    return str(request.node.callspec.params["loaded"][2])


def test_the_page_fits_the_screen_and_is_legible(explored: Explored) -> None:
    width = explored.browser.execute_script("return innerWidth")
    fits_and_is_legible(explored.browser, width)


def test_methods_are_toggled(explored: Explored, how: str) -> None:
    kept = explored.control("kept")
    assert kept.text == "100 of 100 trials are kept."
    box, colour = method(explored, "PC")

    def marks() -> dict[str, int]:
        of = {name: f"[data-chart={name}] {mark.format(colour)}" for name, mark in CHARTS.items()}
        return {name: len(explored.all(selector)) for name, selector in of.items()}

    everything = {"values": 8, "curves": 2, "parallel": 32}
    assert marks() == everything
    explored.use(box, how, Keys.SPACE)
    assert not box.is_selected()
    assert marks() == dict.fromkeys(CHARTS, 0)
    assert kept.text == "68 of 100 trials are kept."
    explored.use(box, how, Keys.SPACE)
    assert marks() == everything
    everyone, nobody = explored.control("groups").find_elements(By.TAG_NAME, "button")
    for button, is_kept in ((nobody, False), (everyone, True)):
        explored.use(button, how)
        assert box.is_selected() is is_kept
        assert kept.text == f"{100 * is_kept} of 100 trials are kept."


def method(explored: Explored, name: str) -> tuple[WebElement, str]:
    """The box of a method, and the colour of the mark beside its name."""
    for label in explored.control("groups").find_elements(By.TAG_NAME, "label"):
        if label.text == name:
            mark = label.find_element(By.TAG_NAME, "path").get_attribute("fill")
            return label.find_element(By.TAG_NAME, "input"), str(mark)
    raise AssertionError(name)


def test_settings_and_axes_are_chosen(explored: Explored, how: str) -> None:
    chart = explored.find("[data-chart=values]")
    for name in ("setting", "x", "y"):
        select = explored.control(name)
        options = select.find_elements(By.TAG_NAME, "option")
        chosen = next(place for place, option in enumerate(options) if option.is_selected())
        other = options[chosen + 1 if chosen + 1 < len(options) else chosen - 1]
        if how == "pointer":
            other.click()
        else:
            explored.use(select, how, Keys.ARROW_DOWN if chosen + 1 < len(options) else Keys.UP)
        explored.drawn()
        assert other.is_selected()
        if name == "setting":
            for each in ("values", "curves"):
                said = explored.find(f"[data-chart={each}]")
                said.send_keys(Keys.HOME)
                assert said.find_element(By.CSS_SELECTOR, "[role=status]").text.startswith(
                    other.text.split()[0]
                )
        else:
            assert other.text in chart.find_element(By.TAG_NAME, "svg").text


def test_a_part_of_the_vertical_axis_is_chosen(explored: Explored, how: str) -> None:
    for name, text in (("low", "60"), ("high", "70")):
        field = explored.control(name)
        if how == "pointer":
            ActionChains(explored.browser).click(field).send_keys(text).perform()
            explored.drawn()
        else:
            explored.use(field, how, text)
    ticks = [
        int(text.text)
        for text in explored.all("[data-chart=values] .role-axis-label text")
        if re.fullmatch(r"\d\d", text.text)
    ]
    assert ticks
    assert all(60 <= tick <= 70 for tick in ticks)


@pytest.mark.parametrize("name", CHARTS)
def test_charts_show_values_and_choose(explored: Explored, name: str, how: str) -> None:
    (a_pointer_shows_values if how == "pointer" else keys_show_values)(explored, name)


def a_pointer_shows_values(explored: Explored, name: str) -> None:
    _, colour = method(explored, "PC")
    path = explored.find(f"[data-chart={name}] {CHARTS[name].format(colour)}")
    pointer = ActionChains(explored.browser).w3c_actions
    x, y = explored.point_of(path, 0.03 if name == "parallel" else 0.0)
    pointer.pointer_action.move_to_location(x, y)
    pointer.perform()
    tip = explored.find(f"[data-chart={name}] .tip")
    assert re.search(r"accuracy: \d+\.\d\d %", tip.text)
    assert explored.is_in_view(tip)
    pointer.pointer_action.move_to_location(x, y).click()
    pointer.perform()
    assert tip.is_displayed()
    leads_to_trials(explored, name, "pointer")


def keys_show_values(explored: Explored, name: str) -> None:
    chart = explored.find(f"[data-chart={name}]")
    assert (chart.aria_role, bool(chart.accessible_name)) == ("application", True)
    status = chart.find_element(By.CSS_SELECTOR, "[role=status]")
    said = []
    arrows = (Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ARROW_UP)
    for key in (Keys.HOME, *arrows, Keys.END):
        explored.use(chart, "keys", key)
        said.append(status.text)
    first, right, left, down, up, end = said
    assert len({first, right, down, end} - {""}) == (4 if name == "curves" else 3)
    assert (left, up) == (first, first)
    tip = chart.find_element(By.CLASS_NAME, "tip")
    assert " ".join(tip.text.split()) == end
    assert explored.is_in_view(tip)
    chart.send_keys(Keys.ENTER)
    leads_to_trials(explored, name, "keys")
    explored.use(chart, "keys", Keys.ESCAPE)
    assert not explored.rows(name)
    assert not tip.is_displayed()


def leads_to_trials(explored: Explored, name: str, how: str) -> None:
    """Require the rows of the chosen trials, their links, and the button that shows them below."""
    rows = explored.rows(name)
    assert len(rows) == (1 if name == "parallel" else 2)
    folder, run = (link.get_attribute("href") for link in rows[0].find_elements(By.TAG_NAME, "a"))
    assert re.search(r"/trials/(digits|letters)\d+$", str(folder))
    assert re.search(r"#/runs/(digits|letters)\d+$", str(run))
    explored.use(explored.find(f"[data-chosen={name}] button"), how)
    shown_in_the_table(explored, len(rows))


def shown_in_the_table(explored: Explored, count: int) -> None:
    (output,) = explored.all(".filter output")
    assert output.text == f"{count} of 100 rows"
    (field,) = explored.all("input[data-filters]")
    assert field == explored.browser.switch_to.active_element
    assert explored.is_in_view(field)


def test_trials_are_kept_by_dragging(explored: Explored) -> None:
    kept = explored.control("kept")
    axis = explored.axis(2)  # of the method; the settings and sets are before it
    drag = ActionChains(explored.browser).move_to_element_with_offset(axis, 0, -128)
    drag.click_and_hold().move_by_offset(0, 128).release().perform()
    explored.drawn()
    found = re.fullmatch(r"(\d+) of 100 trials are kept\.", kept.text)
    assert found
    assert 0 < int(found[1]) < 100
    ActionChains(explored.browser).move_to_element(explored.axis(2)).click().perform()
    explored.drawn()
    assert kept.text == "100 of 100 trials are kept."


def test_trials_are_kept_by_ranges(explored: Explored, how: str) -> None:
    kept = explored.control("kept")
    explored.use(explored.find("summary"), how)
    for key, text, count in (("rho0", "0.1", 48), ("seed", "1", 24)):
        field = explored.find(f"[data-range={key}] input")
        if how == "pointer":
            ActionChains(explored.browser).click(field).send_keys(text).perform()
        else:
            explored.use(field, how, text)
        assert kept.text == f"{count} of 100 trials are kept."
    explored.use(explored.find("[data-range=set] input"), how, Keys.SPACE)
    assert kept.text == "12 of 100 trials are kept."
    explored.use(explored.control("show"), how)
    shown_in_the_table(explored, 12)
    explored.use(explored.control("reset"), how)
    assert kept.text == "100 of 100 trials are kept."
    assert explored.find("[data-range=set] input").is_selected()
    assert explored.find("[data-range=rho0] input").get_attribute("value") == ""


def test_figures_are_saved_as_svg(explored: Explored, how: str, tmp_path: Path) -> None:
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    explored.browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    names = {*CHARTS, "learning_curves", "sensitivity"}
    for name in names:
        where = f"[data-chart={name}] .download, [data-name={name}] + .download"
        (button,) = explored.all(where)
        explored.use(button, how)
    WebDriverWait(explored.browser, 30, 0.05).until(
        lambda _: names == {path.stem for path in tmp_path.glob("*.svg")}
    )
    for name in names:
        text = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(--" not in text


def test_tables_are_sorted(explored: Explored, how: str) -> None:
    (table,) = explored.all("table[data-name=sensitivity]")
    headers = table.find_elements(By.TAG_NAME, "th")
    column = explored.texts(headers).index("range")
    button = headers[column].find_element(By.TAG_NAME, "button")
    if headers[column].get_attribute("aria-sort") == "ascending":  # of the test before
        button.click()
    for direction in ("ascending", "descending"):
        explored.use(button, how)
        assert headers[column].get_attribute("aria-sort") == direction
        cells = table.find_elements(By.XPATH, f".//td[{column + 1}]")
        shown = [float(text) for text in explored.texts(cells)]
        assert len(shown) > 1
        assert shown == sorted(shown, reverse=direction == "descending")


def test_the_table_of_trials_is_filtered(explored: Explored, how: str) -> None:
    (field,), (output,) = explored.all("input[data-filters]"), explored.all(".filter output")
    assert output.text == "100 of 100 rows"
    if how == "pointer":
        ActionChains(explored.browser).click(field).send_keys("method=PC set=binary").perform()
    else:
        explored.use(field, how, "method=PC set=binary")
    assert output.text == "16 of 100 rows"
    rows = "[...document.querySelectorAll('table[data-name=trials] tbody tr')]"
    shown = f"return {rows}.filter((row) => row.checkVisibility()).length"
    assert explored.browser.execute_script(shown) == 16


def test_what_is_folded_is_unfolded(explored: Explored, how: str) -> None:
    summaries = explored.all("summary")
    titles = explored.texts(summaries)
    for text in ("What the verdicts mean", "Ranges", "50 rows", "too large", "differ"):
        summary = next(one for one, title in zip(summaries, titles, strict=True) if text in title)
        inside = summary.find_element(By.XPATH, "./following-sibling::*[1]")
        assert not inside.is_displayed()
        explored.use(summary, how)
        assert inside.is_displayed()


def test_links_lead_to_sections(explored: Explored, how: str) -> None:
    for text in ("Explore", "Accuracy", "Failed trials", "Recipes", "Trials"):
        (link,) = explored.browser.find_elements(By.LINK_TEXT, text)
        explored.use(link, how)
        (heading,) = explored.all(f"[id='{str(link.get_attribute('href')).partition('#')[2]}']")
        assert explored.is_in_view(heading), link.text


_STOPS = """
const every = "button, select, input, summary, .chart, .drawing";
return [...document.querySelectorAll(`#explore :is(${every})`)].filter(
  (one) => one.className !== "drawing" || one.scrollWidth > one.clientWidth);
"""
"""The controls, and the drawings that can be scrolled."""


def test_the_tabulator_goes_through_all_controls_in_order(explored: Explored) -> None:
    controls = [one for one in explored.browser.execute_script(_STOPS) if one.is_displayed()]
    assert len(controls) >= 20
    explored.all("nav a")[-1].send_keys(Keys.NULL)
    for control in controls:
        explored.browser.switch_to.active_element.send_keys(Keys.TAB)
        assert explored.browser.switch_to.active_element == control
        assert explored.has_ring(), control.get_attribute("outerHTML")
        assert control.accessible_name, control.get_attribute("outerHTML")
        assert explored.is_in_view(control), control.get_attribute("outerHTML")


def test_settings_are_written_in_full_and_results_with_few_digits(explored: Explored) -> None:
    """Seeds may be dates, and averages differ in their fourth nine."""
    script = """
    const dimension = (role) => ({ role, names: null, digits: null, unit: "" });
    const texts = (role, values) => values.map((value) => written(dimension(role), value));
    const scale = scaleOf({ ...dimension("knob"), isLog: true }, [0.999, 0.99995], [0, 9]);
    return [...texts("seed", [20240101]), ...texts("knob", [0.99995, 1048576]),
            ...texts("result", [1234567, 12.34567]), formatOf(dimension("knob")), scale.ticks];
    """
    assert explored.browser.execute_script(script) == [
        *("20240101", "0.99995", "1048576", "1234567", "12.35"),
        ".12~g",
        [0.999, 0.99995],
    ]
