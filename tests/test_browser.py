"""What a browser shows: the report from disk, and MLflow's UI on a sweep's storage."""

import os
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname
from xml.etree import ElementTree

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from analysis.report.study import write_study_report
from tests.analysis.studies import made_study
from tests.conftest import SWEEPS, Ran, run_command
from tests.pages import Explored, body, contrast, open_afresh, requested, runs_text_as_code, screen

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER) and "QUANTLAB_REQUIRE_BROWSER" not in os.environ,
        reason="chromium and chromedriver are not installed",
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    assert CHROMIUM, "chromium is required and not installed"
    assert DRIVER, "chromedriver is required and not installed"
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1600,1000",
    ):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tiny: Ran, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(tiny.folder, folder / "tiny")
    arguments = ("report", "tiny.py", "--compare", "proxconnect", "--format", "html")
    done = run_command(folder / "tiny", *arguments)
    assert done.returncode == 0, done.stderr
    return (folder / "tiny" / "runs" / "reports" / "tiny" / "report.html").as_uri()


def test_the_report_opens_from_disk_without_a_network(browser: webdriver.Chrome, page: str) -> None:
    requested(browser)
    browser.get(page)
    addresses = requested(browser)
    assert addresses[0] == page
    assert all(address == page or address.startswith("data:") for address in addresses)
    assert not runs_text_as_code(browser)
    assert browser.find_element(By.TAG_NAME, "h1").text == "Sweep tiny"
    figure = browser.find_element(By.CSS_SELECTOR, ".figure svg")
    assert figure.size["width"] > 200
    assert figure.size["height"] > 100
    abouts = [element.text for element in browser.find_elements(By.CLASS_NAME, "about")]
    assert any("over ρ0: MD" in about for about in abouts)
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors


def test_tables_are_sorted_by_a_click(browser: webdriver.Chrome, page: str) -> None:
    browser.get(page)
    table = browser.find_element(By.CSS_SELECTOR, "table[data-name=regrets]")
    headers = table.find_elements(By.TAG_NAME, "th")
    column = [header.text for header in headers].index("accuracy %")
    for direction in ("ascending", "descending"):
        headers[column].find_element(By.TAG_NAME, "button").click()
        assert headers[column].get_attribute("aria-sort") == direction
        shown = [
            float(row.find_elements(By.TAG_NAME, "td")[column].text)
            for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")
        ]
        assert len(shown) > 1
        assert shown == sorted(shown, reverse=direction == "descending")


def test_trials_are_filtered_and_linked(browser: webdriver.Chrome, page: str) -> None:
    browser.get(page)
    field = browser.find_element(By.CSS_SELECTOR, "input[data-filters=trials]")
    output = browser.find_element(By.CSS_SELECTOR, ".filter output")
    assert output.text == "6 of 6 rows"
    for words, found in (
        ("method=MD rho0=0.5|7", "2 of 6 rows"),
        ("rho0>=0.5 seed!=0", "2 of 6 rows"),
        ("method=M* binary", "4 of 6 rows"),
        ("state=DIVERGED", "0 of 6 rows"),
        ("colour=red", "There is no column for colour=red."),
    ):
        field.clear()
        field.send_keys(words)
        assert output.text == found, words
    rows = browser.find_elements(By.CSS_SELECTOR, "table[data-name=trials] tbody tr")
    folder, run = (link.get_attribute("href") for link in rows[0].find_elements(By.TAG_NAME, "a"))
    assert folder is not None
    assert (Path(url2pathname(urlsplit(folder).path)) / "result.json").exists()
    assert run is not None
    assert re.fullmatch(r"http://127\.0\.0\.1:5000/#/experiments/\d+/runs/[0-9a-f]{32}", run)


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids="{0[0]}-{0[1]}".format)
def explored(
    browser: webdriver.Chrome, page: str, request: pytest.FixtureRequest
) -> Iterator[Explored]:
    requested(browser)
    part = Explored(browser)
    with screen(browser, *request.param):
        browser.get(page)
        part.drawn()
        yield part
    assert not [address for address in requested(browser)[1:] if not address.startswith("data:")]
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_a_mark_tells_its_values_and_leads_to_its_trials(explored: Explored) -> None:
    mark = explored.find("[data-chart=values] .mark-symbol path[fill='#cc79a7']")
    ActionChains(explored.browser).move_to_element(mark).click().perform()
    tip = explored.find("[data-chart=values] .tip")
    assert re.search(r"^MD.*\ntest accuracy: \d+\.\d\d % .*n = 2\nfrom ", tip.text)
    folder, run = (
        link.get_attribute("href")
        for link in explored.rows("values")[1].find_elements(By.TAG_NAME, "a")
    )
    assert folder is not None
    assert (Path(url2pathname(urlsplit(folder).path)) / "result.json").exists()
    assert run is not None
    assert "/runs/" in run
    explored.find("[data-chosen=values] button").click()
    assert explored.browser.find_element(By.CSS_SELECTOR, ".filter output").text == "2 of 6 rows"


def test_every_mark_can_be_reached_with_the_keyboard(explored: Explored) -> None:
    for name, marks, rows in (("values", 3, 2), ("parallel", 6, 1)):
        chart = explored.find(f"[data-chart={name}]")
        said = set()
        for key in (Keys.HOME, *[Keys.ARROW_RIGHT] * (marks - 1)):
            chart.send_keys(key)
            said.add(chart.find_element(By.CSS_SELECTOR, "[role=status]").text)
        assert len(said) == marks
        assert all("test accuracy: " in text for text in said)
        chart.send_keys(Keys.ARROW_UP, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.END, Keys.ENTER)
        assert len(explored.rows(name)) == rows
        chart.send_keys(Keys.ESCAPE)
        assert not explored.rows(name)
        assert not chart.find_element(By.CLASS_NAME, "tip").is_displayed()


def test_trials_are_kept_by_methods_ranges_and_dragging(explored: Explored) -> None:
    kept = explored.control("kept")
    marks = "[data-chart=values] .mark-symbol path[fill='#cc79a7']"
    assert kept.text == "6 of 6 trials are kept."
    everything, nothing = explored.control("groups").find_elements(By.TAG_NAME, "button")
    nothing.send_keys(Keys.SPACE)
    assert kept.text == "0 of 6 trials are kept."
    everything.click()
    for method in explored.control("groups").find_elements(By.TAG_NAME, "label"):
        if method.text == "MD":
            method.find_element(By.TAG_NAME, "input").send_keys(Keys.SPACE)
    explored.drawn()
    assert kept.text == "2 of 6 trials are kept."
    assert not explored.browser.find_elements(By.CSS_SELECTOR, marks)
    explored.control("reset").send_keys(Keys.ENTER)
    explored.drawn()
    assert explored.browser.find_elements(By.CSS_SELECTOR, marks)
    explored.find("summary").send_keys(Keys.ENTER)
    for key, text, count in (("rho0", "1", 2), ("seed", "1", 1), ("seed", "", 2), ("rho0", "", 6)):
        explored.write(explored.find(f"[data-range={key}] input"), text)
        assert kept.text == f"{count} of 6 trials are kept."
    explored.find("[data-range=set] input").send_keys(Keys.SPACE)
    explored.drawn()
    assert kept.text == "2 of 6 trials are kept."  # those without a set
    explored.control("reset").click()
    explored.drawn()
    axis = explored.axis(1)  # of the method
    drag = ActionChains(explored.browser).move_to_element_with_offset(axis, 0, -128)
    drag.click_and_hold().move_by_offset(0, 128).release().perform()
    explored.drawn()
    assert kept.text in ("2 of 6 trials are kept.", "4 of 6 trials are kept.")
    explored.control("show").click()
    output = explored.browser.find_element(By.CSS_SELECTOR, ".filter output")
    assert output.text == f"{kept.text[:6]} rows"
    axis = explored.axis(1)
    ActionChains(explored.browser).move_to_element(axis).click().perform()
    explored.drawn()
    assert kept.text == "6 of 6 trials are kept."


@pytest.mark.parametrize("explored", [(390, "light")], ids=["390-light"], indirect=True)
def test_each_choice_of_axes_is_drawn(explored: Explored) -> None:
    for name in ("x", "y"):
        options = explored.control(name).find_elements(By.TAG_NAME, "option")
        assert len(options) > 2
        for option in options:
            option.click()
            explored.drawn()
            labels = explored.find("[data-chart=values] svg").text
            assert option.text in labels, option.text
    for name, text in (("low", "0.1"), ("high", "9")):
        explored.write(explored.control(name), text)


@pytest.mark.parametrize("explored", [(1280, "dark")], ids=["1280-dark"], indirect=True)
def test_figures_are_saved_as_svg(explored: Explored, tmp_path: Path) -> None:
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    explored.browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    for button in explored.browser.find_elements(By.CLASS_NAME, "download"):
        explored.browser.execute_script("arguments[0].scrollIntoView()", button)
        button.send_keys(Keys.ENTER)
    names = {"values", "parallel", "sensitivity", "heat_map"}
    WebDriverWait(explored.browser, 30).until(
        lambda _: names <= {path.stem for path in tmp_path.glob("*.svg")}
    )
    for name in names:
        text = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(--" not in text


@pytest.fixture(scope="module")
def study_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("study")
    study = made_study(is_multi=True)
    write_study_report(study, folder, title="Study made", facts={"a": "b"}, formats=["html"])
    return (folder / "report.html").as_uri()


def test_the_configurations_of_a_study_are_explored(
    browser: webdriver.Chrome, study_page: str
) -> None:
    browser.get(study_page)
    part = Explored(browser)
    part.drawn()
    assert part.control("kept").text == "5 of 5 configurations are kept."
    chart = part.find("[data-chart=values]")
    chart.send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ENTER)
    assert chart.find_element(By.CSS_SELECTOR, "[role=status]").text == (
        "configuration 1 validation accuracy: 97.00 %"
    )
    (row,) = part.rows("values")
    assert row.text == "0.2 PQ 97.00 % 1.500 1.5 COMPLETE"
    part.find("summary").click()
    part.find("[data-range='param.rule'] input").send_keys(Keys.SPACE)
    part.drawn()
    assert part.control("kept").text == "3 of 5 configurations are kept."


@pytest.mark.parametrize("how", ["print", "no scripts"])
def test_a_print_has_the_figures_and_no_controls(
    browser: webdriver.Chrome, page: str, how: str
) -> None:
    is_print = how == "print"
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not is_print})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print" if is_print else ""})
    browser.get(page)
    assert not browser.find_element(By.ID, "explore").is_displayed()
    assert not any(e.is_displayed() for e in browser.find_elements(By.CLASS_NAME, "download"))
    assert all(e.is_displayed() for e in browser.find_elements(By.CSS_SELECTOR, ".figure svg"))
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("which", ["page", "study_page"])
def test_a_report_fits_the_screen_and_is_legible(
    browser: webdriver.Chrome,
    request: pytest.FixtureRequest,
    which: str,
    scheme: str,
    width: int,
) -> None:
    page = request.getfixturevalue(which)
    with screen(browser, width, scheme):
        browser.get(page)
        Explored(browser).drawn()
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        if width >= 1280:  # on a narrower one, tables that are wider can be moved
            hidden = "return [...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > "
            hidden += "e.clientWidth).map(e => e.firstChild.dataset.name)"
            assert browser.execute_script(hidden) == []
        for selector in ("p.about", "td", "a", "dd", *(["pre"] if which == "study_page" else [])):
            assert contrast(browser, selector) >= 4.5, selector


@pytest.fixture(scope="module")
def links(tiny: Ran, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What `sweeps ui` prints in a copy of the storage: the name of each page, and its address."""
    folder = tmp_path_factory.mktemp("moved")
    shutil.copytree(tiny.folder / "runs", folder / "elsewhere")
    (folder / "link").symlink_to("elsewhere")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [SWEEPS, "ui", "tiny", "--storage", "link", "--port", str(port)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    try:
        assert server.stdout is not None
        address, line = server.stdout.readline().strip(), server.stdout.readline()
        assert address == f"http://127.0.0.1:{port}"
        urllib.request.urlopen(address).close()  # the links are printed when the server answers
        yield {"": address, **dict([line.split()])}
    finally:
        os.killpg(server.pid, 15)
        server.communicate(timeout=30)


def test_the_link_to_mlflow_shows_the_trials_by_accuracy(
    browser: webdriver.Chrome, links: dict[str, str]
) -> None:
    shown = {"method", "set", "rho0", "seed", "test_accuracy", "validation_accuracy"}
    header = "return [...document.querySelectorAll('.ag-header-cell')].map(e => e.innerText.trim())"
    open_afresh(browser, links["tiny"])
    WebDriverWait(browser, 60).until(
        lambda page: (
            "6 matching runs" in body(page)
            # MLflow orders the columns of a view only sometimes, as the page is loaded in parts.
            and shown < set(page.execute_script(header))
        )
    )
    rows = browser.execute_script(
        "const rows = {}; for (const cell of document.querySelectorAll('.ag-row .ag-cell')) "
        "(rows[cell.closest('.ag-row').getAttribute('row-index')] ??= {})"
        "[cell.getAttribute('col-id')] = cell.innerText.trim(); return Object.values(rows)"
    )
    assert len(rows) == 6
    accuracies = [float(row["metrics.`test_accuracy`"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert all(accuracy == round(accuracy, 5) for accuracy in accuracies)
    assert {row["params.`method`"] for row in rows} == {"MD", "FP"}
    for row in rows:
        assert f"\nseed={row['params.`seed`']} " in row["attributes.`Run Name`"]


def test_the_charts_of_mlflow_compare_the_settings(
    browser: webdriver.Chrome, links: dict[str, str]
) -> None:
    titles = (
        "return [...document.querySelectorAll('body *')].filter(e => e instanceof HTMLElement "
        "&& !e.childElementCount).map(e => e.innerText.trim())"
    )
    open_afresh(browser, links["tiny"].replace("=TABLE", "=CHART"))
    WebDriverWait(browser, 60).until(
        lambda page: {"Parallel Coordinates", "Model metrics"} <= set(page.execute_script(titles))
    )
    assert not {"rho0", "seed", "file_bytes"} & set(browser.execute_script(titles))


def test_mlflow_groups_the_trials_of_a_configuration(
    browser: webdriver.Chrome, links: dict[str, str]
) -> None:
    open_afresh(browser, links["tiny"].replace("Key=trials", "Key=configurations"))
    # Whether the groups are closed cannot be required: MLflow sometimes opens them by itself.
    WebDriverWait(browser, 60).until(lambda page: "Group: MD rho0=0.5" in body(page))


def test_a_moved_storage_shows_its_artifacts(
    browser: webdriver.Chrome, links: dict[str, str]
) -> None:
    open_afresh(browser, links["tiny"])
    by_name = "//a[contains(., 'MD rho0=')]"
    WebDriverWait(browser, 60).until(lambda page: page.find_elements(By.XPATH, by_name))
    run = browser.find_element(By.XPATH, by_name).get_attribute("href")
    assert run is not None
    browser.get(f"{run.partition('?')[0]}/artifacts/recipe.json")
    WebDriverWait(browser, 60).until(
        lambda page: "weights.pt" in body(page) and '"algorithm"' in body(page)
    )
    assert "moved" in body(browser)  # the path of the file
