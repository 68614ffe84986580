"""The page in a real browser: it renders, its controls work, and it asks no network for anything."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_report import HOSTILE, log, pictures, row, step, write

from wildsr import report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed, so the page is not opened in a browser")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no Chromium with chromedriver was found (Debian: chromium and chromium-driver), so no page is opened"
)
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,900"
)


def bench(folder: Path) -> Path:
    """A bench of two sets, three degradations and four metrics, with pictures."""
    rows = []
    for name, image in (("Set5", "baby"), ("Set5", "bird"), ("Set14", "comic")):
        for place, degradation in enumerate(("clean", "noise", "b+n+j")):
            for gain, model in enumerate(("bicubic", "plain", HOSTILE)):
                for metric, space in (("psnr", "rgb"), ("psnr", "y"), ("ssim", "rgb"), ("ssim", "y")):
                    value = (25.0 if metric == "psnr" else 0.5) - place / 10 + (gain * (0.3 - place * 0.2))
                    rows.append(row(model, image, degradation, value, set=name, metric=metric, space=space))
    pictures(folder, rows, size=(64, 64))
    return write(folder, rows)


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator["webdriver.Chrome"]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # A path of its own keeps selenium from looking for a driver to download.
    started = webdriver.Chrome(options=options, service=Service(executable_path=str(DRIVER)))
    yield started
    started.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("report")
    run = log(folder / "plain", [step(number, pixel=1 / number) for number in range(1, 600)])
    report.write_page(folder / "report.html", [bench(folder)], [run])
    return (folder / "report.html").as_uri()


@pytest.fixture
def page(driver, address):
    """The driver with the page freshly opened and its logs emptied."""
    driver.get_log("browser")
    driver.get_log("performance")
    driver.get(address)
    return driver


def shown(page, selector: str) -> list:
    return [element for element in page.find_elements(By.CSS_SELECTOR, selector) if element.is_displayed()]


def clip(page) -> float:
    """How much of the left picture is hidden, in percent of its width."""
    style = page.execute_script("return getComputedStyle(document.getElementById('before')).clipPath")
    found = re.fullmatch(r"inset\(0(?:px)? (?:calc\()?([0-9.]+)%\)? 0(?:px)? 0(?:px)?\)", style)
    if found:
        return float(found[1])
    found = re.fullmatch(r"inset\(0(?:px)? calc\(100% - ([0-9.]+)%\) 0(?:px)? 0(?:px)?\)", style)
    assert found, style
    return 100 - float(found[1])


def outside(driver) -> list[str]:
    """Addresses of requests that left the machine's own files since the log was last emptied."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]


def errors(driver) -> list[str]:
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def test_the_page_renders(page):
    tables = shown(page, "#tables table")
    assert len(tables) == 3, "all sets, Set5, Set14: one view of one metric each"
    assert len(tables[0].find_elements(By.CSS_SELECTOR, "tbody tr")) == 3
    assert shown(page, "#glance svg rect.bar")
    assert shown(page, "#training svg path.line")
    assert HOSTILE in tables[0].text
    image = page.find_element(By.ID, "before")
    assert page.execute_script("return arguments[0].naturalWidth", image) == 64


def test_the_slider_moves_by_keyboard_script_and_mouse(page):
    slider = page.find_element(By.ID, "slider")
    assert clip(page) == pytest.approx(50)
    slider.send_keys(Keys.ARROW_LEFT)
    by_key = clip(page)
    assert by_key > 50
    page.execute_script("arguments[0].value = 20; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))", slider)
    assert clip(page) == pytest.approx(80)
    width = slider.size["width"]
    ActionChains(page).move_to_element_with_offset(slider, -width // 4, 0).click_and_hold().move_by_offset(
        width // 2, 0
    ).release().perform()
    assert clip(page) == pytest.approx(25, abs=2)
    assert slider.get_attribute("aria-valuetext").startswith("75 % bicubic, 25 % ")
    divide = page.find_element(By.CLASS_NAME, "divide").rect
    assert divide["x"] + divide["width"] / 2 == pytest.approx(slider.rect["x"] + width * 0.75, abs=width * 0.02)


def test_the_metric_and_the_view_switch(page):
    def first_cell() -> str:
        return shown(page, "#tables tbody tr:nth-child(2) td")[0].text

    assert first_cell() == "25.00"
    page.find_element(By.CSS_SELECTOR, 'button[data-to="bicubic"]').click()
    assert first_cell() == "+0.10"
    assert "Gain over bicubic" in shown(page, "#tables caption")[0].text
    page.find_element(By.CSS_SELECTOR, 'button[data-to="ssim-y"]').click()
    assert first_cell() == "+0.1000"
    assert len(shown(page, "#tables table")) == 3
    pressed = [button.text for button in shown(page, 'button[data-switch][aria-pressed="true"]')]
    assert pressed == ["SSIM Y", "Gain over bicubic"]
    assert "SSIM" in shown(page, '#strip button[data-side="model:plain"] span')[0].text


def test_picture_degradation_and_sides_can_be_chosen(page):
    before, after = page.find_element(By.ID, "before"), page.find_element(By.ID, "after")
    first = before.get_attribute("src"), after.get_attribute("src")
    assert first[0] != first[1]
    assert before.get_attribute("alt") == "Set5 baby, b+n+j: bicubic"
    page.find_element(By.CSS_SELECTOR, 'button[data-degradation="noise"]').click()
    assert before.get_attribute("alt") == "Set5 baby, noise: bicubic"
    assert before.get_attribute("src") != first[0]
    Select(page.find_element(By.ID, "picture")).select_by_visible_text("comic")
    Select(page.find_element(By.ID, "left")).select_by_visible_text("input")
    assert before.get_attribute("alt") == "Set14 comic, noise: input"
    page.find_element(By.CSS_SELECTOR, 'button[data-side="truth"]').click()
    assert after.get_attribute("alt") == "Set14 comic, noise: ground truth"
    page.find_element(By.ID, "swap").click()
    assert after.get_attribute("alt") == "Set14 comic, noise: input"
    sides = [option.text for option in Select(page.find_element(By.ID, "left")).options]
    assert sides == ["input", "bicubic", "plain", HOSTILE, "ground truth"]


def test_no_console_error_and_no_request_leaves_the_page(page):
    # By position: a click on a tile draws the tiles anew.
    for place in range(len(page.find_elements(By.TAG_NAME, "button"))):
        page.execute_script("document.getElementsByTagName('button')[arguments[0]].click()", place)
    assert errors(page) == []
    assert outside(page) == []


def test_the_logs_would_show_an_error_and_a_request(driver, tmp_path):
    driver.get_log("browser")
    driver.get_log("performance")
    (tmp_path / "bad.html").write_text('<img src="http://127.0.0.1:9/a.png"><script>undefined_name()</script>')
    driver.get((tmp_path / "bad.html").as_uri())
    assert any("undefined_name" in message for message in errors(driver))
    assert outside(driver) == ["http://127.0.0.1:9/a.png"]


@pytest.mark.parametrize("width", [400, 1280])
def test_only_tables_scroll_sideways(page, width):
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    assert page.execute_script("return document.documentElement.scrollWidth == document.documentElement.clientWidth")
    assert page.execute_script("return window.innerWidth") == width
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_and_light(page):
    seen = set()
    for scheme in ("light", "dark"):
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        seen.add(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(seen) == 2
