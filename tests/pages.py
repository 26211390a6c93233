"""What tests ask of a page in a browser."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait


@dataclass(frozen=True)
class Explored:
    """The part of a report's page in which trials are explored."""

    browser: webdriver.Chrome

    def find(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, f"#explore {selector}")

    def control(self, name: str) -> WebElement:
        return self.find(f"[data-control={name}]")

    def drawn(self) -> None:
        """Wait until both charts show what was last asked for."""
        WebDriverWait(self.browser, 30, 0.05).until(
            lambda page: page.execute_script(
                "return [...document.querySelectorAll('.chart')].every(e => e.dataset.drawn > 0 "
                "&& e.dataset.drawn === e.dataset.asked)"
            )
        )

    def axis(self, place: int) -> WebElement:
        """An axis of the parallel coordinates, all of which is in view then."""
        chart = self.find("[data-chart=parallel] svg")
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
        return chart.find_elements(By.CSS_SELECTOR, ".role-axis-domain line")[2 * place]

    def rows(self, chart: str) -> list[WebElement]:
        return self.find(f"[data-chosen={chart}]").find_elements(By.CSS_SELECTOR, "tbody tr")

    def write(self, element: WebElement, text: str) -> None:
        element.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.BACKSPACE, text)
        self.drawn()


@contextmanager
def screen(browser: webdriver.Chrome, width: int, scheme: str) -> Iterator[None]:
    """A screen or phone of some width, with a light or a dark theme."""
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        yield
    finally:
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


def runs_text_as_code(browser: webdriver.Chrome) -> bool:
    """Whether scripts of the page may run a text as code; those of the driver always may."""
    attempt = "try { Function('window.ran = true')() } catch {} finally { window.tried = true }"
    script = (
        "const element = document.createElement('script');"
        f'element.textContent = "setTimeout(() => {{ {attempt} }})";'
        "document.head.append(element)"
    )
    browser.execute_script(script)
    wait = WebDriverWait(browser, 30, 0.05)
    wait.until(lambda page: page.execute_script("return window.tried"))
    return bool(browser.execute_script("return window.ran === true"))


def requested(browser: webdriver.Chrome) -> list[str]:
    """Addresses that pages asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def open_afresh(browser: webdriver.Chrome, link: str) -> None:
    """Open a link as in a new tab; MLflow's page would keep the state of the view before."""
    browser.get("about:blank")
    browser.get(link)


def body(browser: webdriver.Chrome) -> str:
    return " ".join(browser.find_element(By.TAG_NAME, "body").text.split())
