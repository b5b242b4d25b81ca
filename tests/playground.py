"""The playground in a browser, as tests use it."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from browser import WAIT_SECONDS, Browser, browsing
from pictures import encode, photo


class Playground:
    """The page in a browser.

    Args:
        browser: Has it open.
    """

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.driver = browser.driver

    def open(self, operation: str = "") -> None:
        """Load the page afresh, at an operation."""
        self.driver.get("about:blank")
        self.browser.open(f"/playground#{operation}")
        self.find("#workbench:not([hidden])")

    def find(self, selector: str) -> WebElement:
        """Wait for an element."""
        return self.browser.find(selector)

    def until(self, look: Callable[[], Any]) -> Any:
        """Wait until something is true, and return it."""
        return WebDriverWait(self.driver, WAIT_SECONDS, poll_frequency=0.05).until(lambda _driver: look())

    def run_script(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def field(self, name: str) -> WebElement:
        """The control of a field of the form."""
        return self.find(f"#fields [name='{name}'], #fields [id^='{name}-']:is(input, textarea, select, button)")

    def pick(self, path: Path, name: str) -> None:
        """Choose a file for a picture field, and wait until the page shows it."""
        self.field(name).send_keys(str(path))
        self.until(lambda: path.name in self.find(f".picture:has([id^='{name}-']) .caption").text)

    def run(self) -> None:
        """Press Run."""
        self.find("#run").click()

    def result(self) -> WebElement:
        """Wait for a result whose pictures are there."""
        self.find("#result:not([hidden]) .frame.is-ready")
        return self.find("#result")

    def picture(self, selector: str) -> bytes:
        """The bytes behind a picture or a link of the page, as the browser gets them."""
        script = """
          const [element, done] = arguments;
          fetch(element.href || element.src).then((answer) => answer.blob()).then((blob) => {
            const reader = new FileReader();
            reader.onload = () => done(reader.result);
            reader.readAsDataURL(blob);
          });
        """
        url = self.driver.execute_async_script(script, self.find(selector))
        return base64.b64decode(url.partition(",")[2])

    def problem(self) -> str:
        """Wait for a problem and return what is told of it."""
        return self.find("#problem:not([hidden])").text

    def code(self, language: str) -> str:
        """The call as code."""
        self.find(f"#snippet-languages [value={language}]").send_keys(Keys.SPACE)
        return str(self.run_script("return document.getElementById('snippet').textContent"))


@contextmanager
def playing(address: str, profile: Path) -> Iterator[Playground]:
    """Open a browser for a service."""
    with browsing(address, profile) as browser:
        yield Playground(browser)


def write_astronaut(folder: Path) -> Path:
    """Write a real photo of 512 by 512 pixels as a file."""
    path = folder / "astronaut.jpg"
    path.write_bytes(encode(photo("astronaut"), "jpeg", quality=92))
    return path
