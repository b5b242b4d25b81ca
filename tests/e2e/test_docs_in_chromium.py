"""The pages of the document in a real browser: nothing from outside, no complaint, and calls that work."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from browser import Browser, browsing
from conftest import Service
from pictures import draw_photo, encode


@pytest.fixture(scope="module")
def chromium(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that reaches the service."""
    with browsing(service.address, tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(autouse=True)
def quiet(chromium: Browser) -> Iterator[None]:
    """No test leaves behind a request to another host or an error in the console."""
    yield
    assert chromium.foreign_requests() == []
    assert chromium.complaints() == []


def open_operation(browser: Browser, name: str) -> WebElement:
    """Open one operation of Swagger UI, ready to be tried."""
    browser.open("/docs")
    operation = browser.find(f"[id='operations-{name}']")
    browser.find(".opblock-summary-control", operation).click()
    browser.find(".execute", operation)
    return operation


def execute(browser: Browser, operation: WebElement) -> WebElement:
    """Press Execute; wait for the answer and return what the page shows of it."""
    browser.find(".execute", operation).click()
    shown = browser.find(".live-responses-table tbody .response", operation)
    assert shown.find_element(By.CSS_SELECTOR, ".response-col_status").text.split()[0] == "200"
    return shown


def test_swagger_ui_lists_the_nine_operations(chromium: Browser) -> None:
    """`/docs` shows every documented path, from packaged files alone."""
    chromium.open("/docs")
    chromium.find("#operations-utils-convert_to_png")
    paths = {element.text for element in chromium.driver.find_elements(By.CSS_SELECTOR, ".opblock-summary-path")}
    wanted = {"/change_bg", "/change_cloth", "/expand", "/fix", "/remove_bg", "/remove_watermark"}
    wanted |= {"/utils/photo_resize_url", "/utils/photo_resize", "/utils/convert_to_png"}
    assert wanted <= {path.replace("\u200b", "") for path in paths}


def test_redoc_shows_the_document(chromium: Browser) -> None:
    """`/redoc` draws its whole page, its search ready, from packaged files alone."""
    chromium.open("/redoc")
    page = chromium.find("#redoc")
    chromium.find_by_text("h2", "Cut out the main subject", page)
    chromium.find("input[type=text]", page).send_keys("watermark")
    chromium.find("[data-role='search:results'] li", page)


def test_upload_of_a_file_is_converted(chromium: Browser, tmp_path: Path) -> None:
    """A file that is chosen on the page comes back as PNG, named in the answer that the page shows."""
    file = tmp_path / "meadow.jpg"
    file.write_bytes(encode(draw_photo(64, 48), "JPEG"))
    operation = open_operation(chromium, "utils-convert_to_png")
    chromium.find("input[type=file]", operation).send_keys(str(file))
    text = execute(chromium, operation).text
    assert "转换成功" in text
    assert "meadow.png" in text


def test_sample_is_converted_and_seen(chromium: Browser) -> None:
    """Without a file at hand a sample is sent; asked for as image/png, the picture itself is shown."""
    operation = open_operation(chromium, "utils-convert_to_png")
    chromium.find_by_text("button", "Use a sample picture", operation).click()
    chromium.find_by_text("output", "landscape.jpg will be sent", operation)
    Select(chromium.find("[data-code='200'] .content-type", operation)).select_by_visible_text("image/png")
    picture = chromium.find("img", execute(chromium, operation))
    script = "return arguments[0].decode().then(() => [arguments[0].naturalWidth, arguments[0].naturalHeight])"
    assert chromium.driver.execute_script(script, picture) == [960, 640]


def test_remove_bg_works_as_it_stands(chromium: Browser, service: Service) -> None:
    """Execute on `/remove_bg`, with nothing typed, cuts out the sample and shows the finished task with its link."""
    text = execute(chromium, open_operation(chromium, "edits-remove_background")).text
    assert '"task_status": "SUCCEEDED"' in text
    assert f"{service.address}/results/" in text
