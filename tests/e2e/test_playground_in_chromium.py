"""The playground in a real browser: real photos, the task watched, errors told, by keyboard, in Chinese, on a phone."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from conftest import Service
from pictures import animated_gif
from playground import Playground, playing, write_astronaut

PHONE = {"width": 360, "height": 780, "deviceScaleFactor": 2, "mobile": True}
# Collects what the page shows of a run, and what it tells a screen reader, in that order.
WATCH = """
window.said = { stage: [], news: [] };
for (const id of ["stage", "news"]) {
  const element = document.getElementById(id);
  new MutationObserver(() => {
    if (element.textContent && said[id].at(-1) !== element.textContent) said[id].push(element.textContent);
  }).observe(element, { childList: true });
}
"""
OVERFLOWING = """
return [...document.querySelectorAll("body *")]
  .filter((element) => !element.closest("pre") && element.getBoundingClientRect().right > innerWidth + 0.5)
  .map((element) => element.outerHTML.slice(0, 80));
"""
SAID_IN_LATIN = """
return [...document.querySelectorAll("[data-said]")]
  .filter((element) => element.offsetParent && !element.matches("pre"))
  .map((element) => element.textContent)
  .filter((text) => text.trim() && !/[\\u4e00-\\u9fff]/.test(text));
"""
FOCUS_IS_SEEN = """
const [element] = arguments;
const near = [element, element.parentElement, element.nextElementSibling]
  .filter((each) => each && !each.matches(".visually-hidden"));
const isOutlined = (element, part) => getComputedStyle(element, part).outlineStyle === "solid";
return near.some((each) => ["", "::after"].some((part) => isOutlined(each, part)));
"""
TOO_SMALL = """
const pressed = "button, .button, .operation, .tab, .drop, textarea, select, input:is([type=url], [type=number])";
return [...document.querySelectorAll(pressed)]
  .filter((element) => element.offsetParent && element.getBoundingClientRect().height < 43.5)
  .map((element) => element.outerHTML.slice(0, 80));
"""
# Gives files to the page: arguments are "drop" or "paste", where, and the files' names.
GIVE = """
const [kind, target, names] = arguments;
const data = new DataTransfer();
for (const name of names) data.items.add(new File([Uint8Array.from([137, 80])], name, { type: "image/png" }));
const bubbles = { bubbles: true, cancelable: true };
const event = kind === "drop" ? new DragEvent("drop", { ...bubbles, dataTransfer: data })
  : new ClipboardEvent("paste", { ...bubbles, clipboardData: data });
target.dispatchEvent(event);
"""


@pytest.fixture(scope="module")
def shared(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    """A browser at the service."""
    with playing(service.address, tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(shared: Playground) -> Iterator[Playground]:
    """The same, and no test leaves behind a request to another host or an error in the console."""
    yield shared
    assert shared.browser.foreign_requests() == []
    assert shared.browser.complaints() == []


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real photo as a file."""
    return write_astronaut(tmp_path_factory.mktemp("photos"))


def test_a_real_photo_is_cut_out(page: Playground, astronaut: Path) -> None:
    """A photo that is chosen comes back cut out, beside the original under a slider, told to be a local preview."""
    page.open("remove_bg")
    page.pick(astronaut, "image_url")
    page.run()
    told = page.result().text
    assert "Local preview." in told
    assert page.find("#result .maker.is-preview").is_displayed()
    assert "512 × 512 px → 512 × 512 px" in told
    assert page.run_script("return document.querySelector('.frame .before').naturalWidth") == 512
    link = page.find("#result a[download]")
    assert link.get_attribute("download") == "astronaut-remove_bg.png"
    with Image.open(io.BytesIO(page.picture("#result a[download]"))) as picture:
        assert (picture.mode, picture.size) == ("RGBA", (512, 512))
        assert picture.getchannel("A").getextrema() == (0, 255)
    background = page.find(".frame").value_of_css_property("background-image")
    assert "conic-gradient" in background
    slider = page.find(".frame input[type=range]")
    assert slider.get_attribute("aria-valuetext") == "50 % before, 50 % after"
    ActionChains(page.driver).move_to_element_with_offset(slider, slider.size["width"] // 4, 0).click().perform()
    assert slider.get_attribute("aria-valuetext") == "75 % before, 25 % after"
    assert page.find(".frame img.before").value_of_css_property("clip-path") == "inset(0px 25% 0px 0px)"
    assert page.find(".frame img.after").value_of_css_property("clip-path") == "inset(0px 0px 0px 75%)"


def test_a_task_is_watched(page: Playground, service: Service, astronaut: Path) -> None:
    """`/fix` is followed from its place in the line to its end, with the seconds, also for a screen reader."""
    page.open("fix")
    page.run_script(WATCH)
    page.pick(astronaut, "base_image_url")
    page.run()
    assert page.find("#waiting:not([hidden]) #seconds").text.endswith(" s")
    told = page.result().text
    assert "512 × 512 px → 1024 × 1024 px" in told
    said = page.run_script("return window.said")
    stages = ["Uploading astronaut.jpg …", "Waiting in line: place 1", "Running …"]
    for kind, wanted in (("stage", stages), ("news", [*stages, "Done. The result is below; it is a local preview."])):
        places = [next(at for at, text in enumerate(said[kind]) if text.startswith(stage)) for stage in wanted]
        assert places == sorted(places), kind
    asked = page.run_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert f"{service.address}/files" in asked
    assert any(url.endswith("/events") for url in asked)


def test_parameters_are_those_of_the_document(page: Playground, service: Service) -> None:
    """Every operation is offered, with every field of its request, its default and its bounds."""
    document = service.client.get("/openapi.json").json()
    page.open()
    tried = 0
    for path, methods in document["paths"].items():
        if methods.get("post", {}).get("tags", [""])[0] not in {"edits", "utils"}:
            continue
        page.find(f"#operations [value={path.rpartition('/')[2]}]").send_keys(Keys.SPACE)
        assert page.find("#path").text == f"POST {path}"
        schema = next(iter(methods["post"]["requestBody"]["content"].values()))["schema"]
        properties = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)[
            "properties"
        ]
        names = [element.text for element in page.driver.find_elements(By.CSS_SELECTOR, "#fields .label code")]
        assert sorted(names) == sorted(properties)
        for name, described in properties.items():
            if "default" not in described:
                continue
            control = page.field(name)
            if described["type"] == "boolean":
                assert control.is_selected() is described["default"]
            else:
                assert control.get_attribute("value") == str(described["default"])
            for bound, attribute in (("minimum", "min"), ("maximum", "max")):
                if bound in described:
                    assert float(control.get_attribute(attribute) or "") == described[bound]
        tried += 1
    assert tried == 9


def test_an_error_is_told_at_its_field(page: Playground) -> None:
    """A URL that can't be used is told in a heading, the service's sentence and a hint, and marked at its field."""
    page.open("fix")
    page.find(".address input").send_keys("http://10.0.0.1/photo.jpg")
    page.run()
    told = page.problem()
    assert told.startswith("This URL is not fetched")
    assert "base_image_url" in told
    assert "Nothing is charged." in told
    assert "source_refused" in told
    assert page.find("#problem").get_attribute("role") == "alert"
    control = page.field("base_image_url")
    assert control.get_attribute("aria-invalid") == "true"
    page.browser.find_by_text("button", "Show the field", page.find("#problem")).click()
    assert page.driver.switch_to.active_element == control
    # The picture that the page itself could not show.
    assert [text for text in page.browser.complaints() if "10.0.0.1" not in text] == []
    assert set(page.browser.foreign_requests()) <= {"http://10.0.0.1/photo.jpg"}


def test_what_can_be_seen_to_be_wrong_is_not_sent(page: Playground) -> None:
    """A missing picture and a number out of bounds are told at once, and the first of them has the focus."""
    page.open("fix")
    number = page.field("upscale_factor")
    number.clear()
    number.send_keys("7")
    page.run()
    problems = [
        element.text for element in page.driver.find_elements(By.CSS_SELECTOR, "#fields .field-problem:not([hidden])")
    ]
    assert problems == ["Choose a picture or give its URL.", "Write a number from 1 to 4."]
    assert page.driver.switch_to.active_element == page.field("base_image_url")
    assert number.get_attribute("aria-invalid") == "true"
    assert not page.find("#waiting").is_displayed()


def test_everything_is_said_in_chinese(page: Playground, astronaut: Path) -> None:
    """One button switches all that is said, a result that is shown included, and the page remembers it."""
    page.open("remove_bg")
    page.pick(astronaut, "image_url")
    page.run()
    page.result()
    page.find("#language").click()
    try:
        assert page.find("html").get_attribute("lang") == "zh-CN"
        assert "本地预览。" in page.result().text
        assert page.find(".frame input[type=range]").get_attribute("aria-valuetext") == "之前 50 %，之后 50 %"
        latin = page.run_script(SAID_IN_LATIN)
        assert [text for text in latin if "512" not in text] == ["English"]
        page.open("expand")
        assert page.find("#summary").text == "向四周扩展画面"
    finally:
        page.run_script("localStorage.clear()")


def test_it_starts_in_the_language_of_the_reader(page: Playground) -> None:
    """A browser that prefers Chinese is shown Chinese at once."""
    agent = page.run_script("return navigator.userAgent")
    page.driver.execute_cdp_cmd("Emulation.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": "zh-CN,en"})
    try:
        page.open()
        assert page.find("#run").text == "运行"
    finally:
        page.driver.execute_cdp_cmd("Emulation.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": "en"})


def test_it_is_used_by_keyboard_alone(page: Playground, service: Service) -> None:
    """Operation, picture, parameter, Run and the slider are reached and used without a pointer, the focus seen."""
    page.open("change_bg")

    def press(*keys: str) -> WebElement:
        ActionChains(page.driver).send_keys(*keys).perform()
        return page.driver.switch_to.active_element

    def tab_to(selector: str) -> WebElement:
        for _ in range(40):
            active = press(Keys.TAB)
            if page.run_script("return arguments[0].matches(arguments[1])", active, selector):
                shown = page.run_script(FOCUS_IS_SEEN, active)
                assert shown, f"the focus on {selector} is not seen"
                return active
        pytest.fail(f"{selector} is not reached")

    tab_to("#operations input:checked")
    press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.find("#path").text == "POST /fix"
    tab_to(".picture input[type=file]")
    tab_to(".address input")
    press(f"{service.address}/samples/product.jpg")
    tab_to("#fields input[name=upscale_factor]")
    press(Keys.ARROW_UP)
    tab_to("#run")
    press(Keys.ENTER)
    page.result()
    assert page.driver.switch_to.active_element == page.find("#run")
    slider = tab_to(".frame input[type=range]")
    press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert slider.get_attribute("aria-valuetext") == "48 % before, 52 % after"
    assert "800 × 640 px → 2400 × 1920 px" in page.find(".sizes").text
    tab_to("#result a[download]")
    tab_to("#snippet-languages input")
    assert '"upscale_factor": 3' in page.find("#snippet").text
    tab_to("#copy")


def test_everything_that_is_used_has_a_name(page: Playground) -> None:
    """A screen reader has a name for every control of every operation, each picture and each landmark."""
    page.open()
    for choice in page.driver.find_elements(By.CSS_SELECTOR, "#operations input"):
        choice.send_keys(Keys.SPACE)
        page.run_script("document.getElementById('sample').click()")
        nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        for node in nodes:
            properties = {each["name"]: each["value"].get("value") for each in node.get("properties", [])}
            role = node.get("role", {}).get("value")
            if not node["ignored"] and properties.get("focusable") and role not in {"RootWebArea", "generic"}:
                assert node.get("name", {}).get("value"), (choice.get_attribute("value"), role, node)


def test_a_phone_has_room_for_it(page: Playground, astronaut: Path, tmp_path: Path) -> None:
    """At 360 px nothing is wider than the screen, and what is pressed is large enough for a finger."""
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        page.open("remove_bg")
        page.pick(astronaut, "image_url")
        page.run()
        page.result()
        for choice in page.driver.find_elements(By.CSS_SELECTOR, "#operations input"):
            choice.send_keys(Keys.SPACE)
            assert page.run_script(OVERFLOWING) == []
        assert page.run_script(TOO_SMALL) == []
        (tmp_path / "phone.png").write_bytes(page.driver.get_screenshot_as_png())
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_rectangles_are_drawn_and_written(page: Playground) -> None:
    """A watermark is marked with the pointer, mended by numbers, and what is marked is removed."""
    page.open("remove_watermark")
    page.find("#sample").click()
    overlay = page.find(".board:not([hidden]) .overlay")
    page.until(lambda: overlay.size["width"] > 100)
    page.run_script("arguments[0].scrollIntoView({ block: 'center' })", overlay)
    width, height = overlay.size["width"], overlay.size["height"]
    scale = 960 / width
    start = (round(670 / scale - width / 2), round(570 / scale - height / 2))
    drag = ActionChains(page.driver).move_to_element_with_offset(overlay, *start).click_and_hold()
    drag.move_by_offset(round(280 / scale), round(60 / scale)).release().perform()
    numbers = page.driver.find_elements(By.CSS_SELECTOR, ".boxes input")
    assert [
        abs(int(each.get_attribute("value") or "") - wanted) < 5
        for each, wanted in zip(numbers, (670, 570, 280, 60), strict=True)
    ] == [True] * 4
    numbers[3].clear()
    numbers[3].send_keys("62")
    assert '"height": 62' in page.code("curl")
    page.run()
    page.result()
    assert "960 × 640 px → 960 × 640 px" in page.find(".sizes").text
    page.find(".boxes button").send_keys(Keys.ENTER)
    assert page.driver.switch_to.active_element.text == "Add a rectangle"
    page.driver.switch_to.active_element.click()
    assert page.driver.switch_to.active_element == page.find(".boxes input")


def test_pictures_are_dropped_and_pasted(page: Playground) -> None:
    """Pictures dropped on the page fill the fields in turn, a pasted one the field that has the focus."""
    page.open("change_cloth")
    page.run_script(GIVE, "drop", page.find("main"), ["top.png", "bottom.png"])
    captions = page.driver.find_elements(By.CSS_SELECTOR, ".caption")
    assert [text.split(" · ")[0] for text in (each.text for each in captions)] == ["top.png", "bottom.png", ""]
    page.run_script("arguments[0].focus()", page.field("person_image_url"))
    page.run_script(GIVE, "paste", page.find("main"), ["person.png", "one-too-many.png"])
    assert captions[2].text.startswith("person.png")
    assert page.find("#news").get_attribute("textContent") == "There was no place for 1 picture."


def test_every_frame_is_told(page: Playground, tmp_path: Path) -> None:
    """An animation is converted frame by frame; the first is shown, and all files are named."""
    path = tmp_path / "count.gif"
    path.write_bytes(animated_gif(3))
    page.open("convert_to_png")
    page.pick(path, "image")
    page.field("keep_animation").click()
    page.run()
    told = page.result().text
    assert "Made by this service." in told
    assert "3 frames" in told
    assert [f"count_00{number}.png" in told for number in range(3)] == [True] * 3


def test_several_results_are_chosen_from(page: Playground) -> None:
    """With n = 2 both results can be looked at."""
    page.open("change_bg")
    page.find("#sample").click()
    number = page.field("n")
    number.clear()
    number.send_keys("2")
    page.run()
    page.result()
    first = page.find(".frame .after").get_attribute("src")
    page.browser.find_by_text("button", "Result 2", page.find("#result")).click()
    assert page.find(".frame .after").get_attribute("src") != first
    assert page.find("#result a[download]").get_attribute("download") == "product-change_bg-2.png"
