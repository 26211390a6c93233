"""What a browser shows: the report from disk, and MLflow's UI on a sweep's storage."""

import json
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

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from analysis.report.study import write_study_report
from tests.analysis.studies import made_study
from tests.conftest import SWEEPS, Ran, run_command

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


def requested(browser: webdriver.Chrome) -> list[str]:
    """Addresses that pages asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


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
    assert browser.find_element(By.TAG_NAME, "h1").text == "Sweep tiny"
    figure = browser.find_element(By.TAG_NAME, "svg")
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


@pytest.fixture(scope="module")
def study_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("study")
    study = made_study(is_multi=True)
    write_study_report(study, folder, title="Study made", facts={"a": "b"}, formats=["html"])
    return (folder / "report.html").as_uri()


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
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    if width >= 1280:  # on a narrower one, tables that are wider can be moved
        hidden = "return [...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > "
        hidden += "e.clientWidth).map(e => e.firstChild.dataset.name)"
        assert browser.execute_script(hidden) == []
    for selector in ("p.about", "td", "a", "dd", *(["pre"] if which == "study_page" else [])):
        assert contrast(browser, selector) >= 4.5, selector
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def contrast(browser: webdriver.Chrome, selector: str) -> float:
    """Of an element's text with the page, as WCAG defines it; 4.5 is its level AA."""
    colours = browser.execute_script(
        "return [document.querySelector(arguments[0]), document.body].map((element, place) => "
        "getComputedStyle(element)[place ? 'backgroundColor' : 'color'].match(/[0-9.]+/g))",
        selector,
    )
    lights = []
    for colour in colours:
        linear = [
            value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
            for value in (float(channel) / 255 for channel in colour[:3])
        ]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


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


def open_afresh(browser: webdriver.Chrome, link: str) -> None:
    """Open a link as in a new tab; MLflow's page would keep the state of the view before."""
    browser.get("about:blank")
    browser.get(link)


def body(browser: webdriver.Chrome) -> str:
    return " ".join(browser.find_element(By.TAG_NAME, "body").text.split())
