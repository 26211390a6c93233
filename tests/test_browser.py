"""What a browser shows: the report from disk, and MLflow's UI on a sweep's storage."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

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


def test_the_report_opens_from_disk_without_a_network(
    browser: webdriver.Chrome, tiny: Ran, tmp_path: Path
) -> None:
    done = run_command(tiny.folder, "report", "tiny.py", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    requested(browser)
    page = (tmp_path / "report.html").as_uri()
    browser.get(page)
    addresses = requested(browser)
    assert addresses[0] == page
    assert all(address == page or address.startswith("data:") for address in addresses)
    assert browser.find_element(By.TAG_NAME, "h1").text == "Sweep tiny"
    figure = browser.find_element(By.TAG_NAME, "svg")
    assert figure.size["width"] > 300
    assert figure.size["height"] > 200
    captions = [element.text for element in browser.find_elements(By.TAG_NAME, "caption")]
    assert any("Test accuracy in % over ρ0: MD" in caption for caption in captions)
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors


def test_mlflows_ui_lists_the_runs(browser: webdriver.Chrome, tiny: Ran) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [SWEEPS, "ui", "--port", str(port)],
        cwd=tiny.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(address).close()
                break
            except OSError:
                time.sleep(0.5)
        browser.get(f"{address}/#/experiments/1/runs?orderByKey=metrics.%60rho0%60")
        WebDriverWait(browser, 60).until(
            lambda page: "6 matching runs" in body(page) and "MD rho0=" in body(page)
        )
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def body(browser: webdriver.Chrome) -> str:
    return " ".join(browser.find_element(By.TAG_NAME, "body").text.split())
