"""Takes the README's picture of the playground: a real photo, cut out by a service that is started for it."""

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import skimage.data
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

PICTURE = Path(__file__).parent.parent / "docs" / "playground.jpg"
SIZE = (1280, 960)
QUALITY = 82
MOST_BYTES = 200_000
WAIT_SECONDS = 60.0
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run the service as a newcomer does, on a free port, until the block ends; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("IMGAPI_", "DASHSCOPE_"))}
    process = subprocess.Popen(  # noqa: S603 - a process of our own
        [sys.executable, "-m", "imgapi", "serve", "--port", str(port)],
        env=clean | {"IMGAPI_DATA_DIR": str(folder)},
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(address)
        yield address
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(address: str) -> None:
    """Wait for the service to answer.

    Raises:
        SystemExit: It does not in time.
    """
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        try:
            if httpx.get(f"{address}/readyz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit("The service did not start in time.")


@contextmanager
def browsing(profile: Path) -> Iterator[webdriver.Chrome]:
    """Open a browser in English until the block ends.

    Raises:
        SystemExit: There is none.
    """
    binary, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver_path is None:
        raise SystemExit("This needs Chromium and its driver (Debian: apt-get install chromium chromium-driver).")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--window-size={SIZE[0]},{SIZE[1]}", "--lang=en", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    try:
        yield driver
    finally:
        driver.quit()


def take(driver: webdriver.Chrome, address: str, photo: Path) -> bytes:
    """Cut a photo out on the page and take a picture of it: PNG."""
    metrics = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(f"{address}/playground#remove_bg")
    wait = WebDriverWait(driver, WAIT_SECONDS)
    wait.until(lambda _: driver.find_element(By.ID, "workbench").is_displayed())
    driver.find_element(By.CSS_SELECTOR, "#fields input[type=file]").send_keys(str(photo))
    driver.find_element(By.ID, "run").click()
    wait.until(lambda _: driver.find_elements(By.CSS_SELECTOR, "#result:not([hidden]) .frame.is-ready"))
    driver.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    time.sleep(0.5)
    return bytes(driver.get_screenshot_as_png())


def main() -> None:
    """Write docs/playground.jpg."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = folder / "astronaut.jpg"
        Image.fromarray(skimage.data.astronaut()).save(photo, quality=92)
        with serving(folder / "data") as address, browsing(folder / "profile") as driver:
            content = take(driver, address, photo)
    with Image.open(io.BytesIO(content)) as picture:
        picture.convert("RGB").save(PICTURE, quality=QUALITY, optimize=True, progressive=True)
    if PICTURE.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{PICTURE.name} is larger than {MOST_BYTES} bytes.")


if __name__ == "__main__":
    main()
