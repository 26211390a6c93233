"""What tests ask of a page in a browser."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

NEEDS_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER) and "QUANTLAB_REQUIRE_BROWSER" not in os.environ,
        reason="chromium and chromedriver are not installed",
    ),
]
"""Marks of the tests of a file that opens pages."""

_RESET = """
for (const details of document.querySelectorAll("details[open]")) details.open = false;
for (const select of document.querySelectorAll("#explore select")) {
  const place = [...select.options].findIndex((option) => option.defaultSelected);
  if (select.selectedIndex === place) continue;
  select.selectedIndex = place;
  select.dispatchEvent(new Event("change"));
}
for (const field of document.querySelectorAll(".controls input, input[data-filters]")) {
  if (field.value === "") continue;
  field.value = "";
  field.dispatchEvent(new Event("input"));
}
for (const chart of document.querySelectorAll(".chart")) {
  chart.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
}
const [, kept, all] = /^([0-9]+) of ([0-9]+)/.exec(
  document.querySelector("[data-control=kept]").textContent);
if (kept !== all) document.querySelector("[data-control=reset]").click();
document.activeElement.blur();
scrollTo(0, 0);
"""

_POINT = """
const [path, share] = arguments;
path.scrollIntoView({ block: "center", inline: "start" });
const point = path.getPointAtLength(share * path.getTotalLength());
const place = point.matrixTransform(path.getScreenCTM());
return [Math.round(place.x), Math.round(place.y)];
"""

_RING = """
const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
return outlineStyle !== "none" && parseFloat(outlineWidth) >= 1;
"""


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Chromium without a window, which logs what pages ask for."""
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
    try:
        yield driver
    finally:
        driver.quit()


@dataclass(frozen=True)
class Explored:
    """The part of a report's page in which trials are explored."""

    browser: webdriver.Chrome

    def find(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, f"#explore {selector}")

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def control(self, name: str) -> WebElement:
        return self.find(f"[data-control={name}]")

    def reset(self) -> None:
        """Undo what a reader has chosen, as far as the page is not loaded afresh."""
        self.browser.execute_script(_RESET)
        # A browser shows the focus after keys, and not after clicks.
        self.browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
        self.drawn()

    def drawn(self) -> None:
        """Wait until all charts show what was last asked for."""
        WebDriverWait(self.browser, 30, 0.02).until(
            lambda page: page.execute_script(
                "return [...document.querySelectorAll('.chart')].every(e => e.dataset.drawn > 0 "
                "&& e.dataset.drawn === e.dataset.asked)"
            )
        )

    def use(self, element: WebElement, how: str, key: str = Keys.ENTER) -> None:
        """Click on a control; or press a key on it, which must show that it has the focus."""
        if how == "pointer":
            element.click()
        else:
            element.send_keys(Keys.NULL)
            assert self.has_ring(), element.get_attribute("outerHTML")
            element.send_keys(key)
        self.drawn()

    def has_ring(self) -> bool:
        """Whether there is a ring around the element with the focus."""
        return bool(self.browser.execute_script(_RING))

    def point_of(self, path: WebElement, share: float = 0.0) -> tuple[int, int]:
        """A point on a path, after a share of its length, which is scrolled into view."""
        x, y = self.browser.execute_script(_POINT, path, share)
        return x, y

    def is_in_view(self, element: WebElement) -> bool:
        """Whether the element's top, and all of its width, are on the screen."""
        return bool(
            self.browser.execute_script(
                "const box = arguments[0].getBoundingClientRect();"
                "return box.top > -1 && box.top < innerHeight && box.left > -1 "
                "&& box.right < document.documentElement.clientWidth + 1",
                element,
            )
        )

    def axis(self, place: int) -> WebElement:
        """An axis of the parallel coordinates, all of which is in view then."""
        chart = self.find("[data-chart=parallel] svg")
        line = chart.find_elements(By.CSS_SELECTOR, ".role-axis-domain line")[2 * place]
        self.browser.execute_script(
            "arguments[0].scrollIntoView({block: 'center', inline: 'center'})", line
        )
        return line

    def rows(self, chart: str) -> list[WebElement]:
        return self.find(f"[data-chosen={chart}]").find_elements(By.CSS_SELECTOR, "tbody tr")

    def texts(self, elements: list[WebElement]) -> list[str]:
        """The texts of many elements, for each of which Selenium would take its time."""
        script = "return arguments[0].map((element) => element.innerText.trim())"
        found: list[str] = self.browser.execute_script(script, elements)
        return found

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


def fits_and_is_legible(browser: webdriver.Chrome, width: int, *selectors: str) -> None:
    """Require that nothing is cut off at the side, and that texts are told from the page.

    Args:
        browser: shows a report.
        width: that of its screen.
        selectors: further kinds of text.
    """
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    if width >= 1280:  # on a narrower one, tables that are wider can be moved
        hidden = "return [...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > "
        hidden += "e.clientWidth).map(e => e.firstChild.dataset.name)"
        assert browser.execute_script(hidden) == []
    for selector in ("p.about", "td", "a", "dd", *selectors):
        assert contrast(browser, selector) >= 4.5, selector


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
