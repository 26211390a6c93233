"""What a browser shows: the report of a command, and MLflow's UI on a sweep's storage."""

import os
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from analysis.report.study import write_study_report
from tests.analysis.studies import made_study
from tests.conftest import SWEEPS, Ran
from tests.pages import (
    NEEDS_BROWSER,
    Explored,
    body,
    fits_and_is_legible,
    open_afresh,
    requested,
    runs_text_as_code,
    screen,
)

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def page(reported: Ran) -> str:
    return (reported.folder / "runs" / "reports" / "tiny" / "report.html").as_uri()


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


@pytest.fixture
def opened(browser: webdriver.Chrome, page: str) -> Explored:
    """The page of `tiny`, which is loaded only if it is not there."""
    part = Explored(browser)
    if browser.current_url.partition("#")[0] != page:
        browser.get(page)
    part.reset()
    return part


def test_trials_are_filtered_and_linked(opened: Explored) -> None:
    browser = opened.browser
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
    lead_to_a_trial(rows[0])


def test_a_mark_leads_to_its_trials(opened: Explored) -> None:
    opened.find("[data-chart=values] .mark-symbol path[fill='#cc79a7']").click()
    tip = opened.find("[data-chart=values] .tip")
    assert re.search(r"^MD.*\ntest accuracy: \d+\.\d\d % .*n = 2\nfrom ", tip.text)
    lead_to_a_trial(opened.rows("values")[1])


def lead_to_a_trial(row: WebElement) -> None:
    """Require that the links of a row are those of a trial's folder and of its run."""
    folder, run = (link.get_attribute("href") for link in row.find_elements(By.TAG_NAME, "a"))
    assert folder is not None
    assert (Path(url2pathname(urlsplit(folder).path)) / "result.json").exists()
    assert run is not None
    assert re.fullmatch(r"http://127\.0\.0\.1:5000/#/experiments/\d+/runs/[0-9a-f]{32}", run)


def test_every_mark_can_be_reached_with_the_keyboard(opened: Explored) -> None:
    for name, marks, of in (
        ("values", 3, "test"),
        ("curves", 5, "validation"),
        ("parallel", 6, "test"),
    ):
        chart = opened.find(f"[data-chart={name}]")
        said = set()
        for key in (Keys.HOME, *[Keys.ARROW_RIGHT] * (marks - 1)):
            chart.send_keys(key)
            said.add(chart.find_element(By.CSS_SELECTOR, "[role=status]").text)
        assert len(said) == marks
        assert all(f"{of} accuracy: " in text for text in said)


def test_each_choice_of_axes_is_drawn(opened: Explored) -> None:
    for name in ("x", "y"):
        options = opened.control(name).find_elements(By.TAG_NAME, "option")
        assert len(options) > 2
        for option in options:
            option.click()
            opened.drawn()
            labels = opened.find("[data-chart=values] svg").text
            assert option.text in labels, option.text


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
def test_a_study_fits_the_screen_and_is_legible(
    browser: webdriver.Chrome, study_page: str, scheme: str, width: int
) -> None:
    with screen(browser, width, scheme):
        browser.get(study_page)
        Explored(browser).drawn()
        fits_and_is_legible(browser, width, "pre")


@pytest.fixture(scope="module")
def links(shared_tiny: Ran, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What `sweeps ui` prints in a copy of the storage: the name of each page, and its address."""
    folder = tmp_path_factory.mktemp("moved")
    shutil.copytree(shared_tiny.folder / "runs", folder / "elsewhere")
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


@dataclass(frozen=True)
class Table:
    """What MLflow shows of the trials."""

    rows: list[dict[str, str]]
    """Name of a column -> text."""
    link: str
    """To one of the runs."""


@pytest.fixture(scope="module")
def table(browser: webdriver.Chrome, links: dict[str, str]) -> Table:
    """Where the link leads, which takes seconds to load."""
    shown = {"method", "set", "rho0", "seed", "test_accuracy", "validation_accuracy"}
    header = "return [...document.querySelectorAll('.ag-header-cell')].map(e => e.innerText.trim())"
    by_name = "//a[contains(., 'MD rho0=')]"
    open_afresh(browser, links["tiny"])
    WebDriverWait(browser, 60).until(
        lambda page: (
            "6 matching runs" in body(page)
            # MLflow orders the columns of a view only sometimes, as the page is loaded in parts.
            and shown < set(page.execute_script(header))
            and page.find_elements(By.XPATH, by_name)
        )
    )
    rows = browser.execute_script(
        "const rows = {}; for (const cell of document.querySelectorAll('.ag-row .ag-cell')) "
        "(rows[cell.closest('.ag-row').getAttribute('row-index')] ??= {})"
        "[cell.getAttribute('col-id')] = cell.innerText.trim(); return Object.values(rows)"
    )
    return Table(rows, str(browser.find_element(By.XPATH, by_name).get_attribute("href")))


def test_the_link_to_mlflow_shows_the_trials_by_accuracy(table: Table) -> None:
    assert len(table.rows) == 6
    accuracies = [float(row["metrics.`test_accuracy`"]) for row in table.rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert all(accuracy == round(accuracy, 5) for accuracy in accuracies)
    assert {row["params.`method`"] for row in table.rows} == {"MD", "FP"}
    for row in table.rows:
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


def test_a_moved_storage_shows_its_artifacts(browser: webdriver.Chrome, table: Table) -> None:
    open_afresh(browser, f"{table.link.partition('?')[0]}/artifacts/recipe.json")
    WebDriverWait(browser, 60).until(
        lambda page: "weights.pt" in body(page) and '"algorithm"' in body(page)
    )
    assert "moved" in body(browser)  # the path of the file
