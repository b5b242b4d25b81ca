"""Headless Chromium for tests: it opens pages, and remembers what they asked for and complained of."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

WAIT_SECONDS = 30.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1300,1600",
    # A page that asks for another host is found out by the request; nothing leaves this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def need_chromium() -> tuple[str, str]:
    """Find Chromium and its driver; skip without them, unless IMGAPI_TEST_REQUIRE names chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        reason = "pages are tested in headless Chromium (Debian: apt-get install chromium chromium-driver)"
        if "chromium" in os.environ.get("IMGAPI_TEST_REQUIRE", ""):
            pytest.fail(f"chromium is required and is not there: {reason}")
        pytest.skip(reason)
    return browser, driver


class Browser:
    """A browser with one window.

    Args:
        driver: Drives it.
        address: The service's; pages may ask for nothing else.
    """

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        self.address = address

    def open(self, path: str) -> None:
        """Go to a page of the service."""
        self.driver.get(self.address + path)

    def find(self, selector: str, within: WebElement | None = None) -> WebElement:
        """Wait until there is an element of a CSS selector, and return the first."""
        return self._wait(lambda: (within or self.driver).find_elements(By.CSS_SELECTOR, selector))

    def find_by_text(self, tag: str, text: str, within: WebElement) -> WebElement:
        """Wait until there is an element with that text, and return the first."""
        return self._wait(lambda: within.find_elements(By.XPATH, f".//{tag}[contains(., '{text}')]"))

    def _wait(self, look: Any) -> WebElement:
        found: list[WebElement] = WebDriverWait(self.driver, WAIT_SECONDS, poll_frequency=0.05).until(
            lambda _driver: look()
        )
        return found[0]

    def foreign_requests(self) -> list[str]:
        """List the addresses asked for since the last look that are not the service's, and clear the list."""
        own = (f"{self.address}/", f"blob:{self.address}/", "data:")
        asked = []
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]  # selenium has no types here
            message = json.loads(entry["message"])["message"]
            if message["method"] in {"Network.requestWillBeSent", "Network.webSocketCreated"}:
                parameters = message["params"]
                asked.append(parameters.get("url") or parameters["request"]["url"])
        return [url for url in asked if not url.startswith(own)]

    def complaints(self) -> list[str]:
        """List the errors of the console since the last look, broken content policies among them."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # as above
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]


@contextmanager
def browsing(address: str, profile: Path) -> Iterator[Browser]:
    """Start a browser with a fresh profile, and end it with the block."""
    binary, driver_path = need_chromium()
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    try:
        driver.get("about:blank")
        browser = Browser(driver, address)
        # What its own first page asked for is the browser's affair.
        browser.foreign_requests()
        yield browser
    finally:
        driver.quit()
