"""The page in a real browser: it renders, its controls work, and it asks no network for anything."""

import json
import re
from pathlib import Path

import pytest
from bench_rows import HOSTILE, log, pictures, row, step, write
from browser import pytestmark, visit, webdriver  # noqa: F401
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from wildsr import report


def bench(folder: Path) -> Path:
    """A bench of two suites on two sets, four metrics and a band, photographs alone, and a model that failed once; with pictures."""
    rows = []
    for suite, names, seen in (("rdsr8", ("clean", "noise", "b+n+j"), "seen"), ("unseen", ("motion",), "unseen")):
        for name, image in (("Set5", "baby"), ("Set5", "bird"), ("Set14", "comic")):
            for place, degradation in enumerate(names):
                for gain, model in enumerate(("bicubic", "plain", HOSTILE)):
                    shared = {"suite": suite, "set": name, "seen": seen}
                    metrics = [
                        ("psnr", "rgb"),
                        ("psnr", "y"),
                        ("ssim", "rgb"),
                        ("ssim", "y"),
                        ("energy-0.00-0.25", "y"),
                        ("energy-0.25-top", "y"),
                    ]
                    for metric, space in metrics if suite == "rdsr8" else metrics[:2]:
                        value = {"psnr": 25.0, "ssim": 0.5}.get(metric, -3.0) - place / 10 + gain * (0.3 - place * 0.2)
                        rows.append(row(model, image, degradation, value, metric=metric, space=space, **shared))
    for model, value in (("bicubic", 0.5), ("plain", 0.4), (HOSTILE, 0.6)):
        rows.append(row(model, "street", "as they are", value, suite="real", set="phone", metric="blur-effect", lower_better=True))
    pictures(folder, rows, size=(64, 64))
    (folder / "hr/phone/street.png").unlink()
    rows.append(row("plain", "worm", "clean", None, error="out of memory"))
    rows.append(row("bicubic", "worm", "clean", 20.0))
    return write(folder, rows)


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
    visit(driver, address)
    return driver


def shown(page, selector: str) -> list:
    return [element for element in page.find_elements(By.CSS_SELECTOR, selector) if element.is_displayed()]


def press(page, selector: str) -> None:
    page.execute_script(
        "arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", page.find_element(By.CSS_SELECTOR, selector)
    )


def style(page, selector: str, name: str) -> list[str]:
    """A computed style of every element."""
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => getComputedStyle(one)[arguments[1]])"
    return page.execute_script(script, selector, name)


def clip(page) -> float:
    """How much of the left picture is hidden, in percent of its width."""
    (found,) = style(page, "#before-part", "clipPath")
    percent = re.fullmatch(r"inset\(0(?:px)? (?:calc\()?([0-9.]+)%\)? 0(?:px)? 0(?:px)?\)", found)
    if percent:
        return float(percent[1])
    rest = re.fullmatch(r"inset\(0(?:px)? calc\(100% - ([0-9.]+)%\) 0(?:px)? 0(?:px)?\)", found)
    assert rest, found
    return 100 - float(rest[1])


def outside(driver) -> list[str]:
    """Addresses of requests that left the machine's own files since the log was last emptied."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]


def errors(driver) -> list[str]:
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def test_the_page_renders(page):
    (table,) = shown(page, "#tables table")
    assert [row.text.split()[0] for row in table.find_elements(By.CSS_SELECTOR, "tr.group")] == ["All", "Set5", "Set14"]
    for selector in (
        "#glance svg rect.bar",
        "#gains table",
        "#generalisation .mark.unseen",
        "#detail svg path.line",
        "#training svg path.line",
    ):
        assert shown(page, selector), selector
    assert HOSTILE in table.text
    assert "plain: rdsr8 Set5 worm, clean: out of memory" in page.find_element(By.ID, "failed").text
    for image in ("before", "after"):
        assert page.execute_script("return document.getElementById(arguments[0]).naturalWidth", image) == 64


def test_the_slider_moves_by_keyboard_script_and_mouse(page):
    slider = page.find_element(By.ID, "slider")
    assert clip(page) == pytest.approx(50)
    slider.send_keys(Keys.ARROW_LEFT)
    assert clip(page) > 50
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


def test_suite_metric_and_view_switch(page):
    def first_cell(part: str) -> str:
        row = 3 if part == "tables" else 2
        return shown(page, f"#{part} tbody tr:nth-child({row}) td")[0].text.split("\n")[0]

    assert first_cell("tables") == "25.00†"
    assert first_cell("gains") == "+0.10*†"
    press(page, 'button[data-to="baseline"]')
    assert first_cell("gains") == "−0.10*†"
    press(page, 'button[data-to="ssim-y"]')
    assert first_cell("tables") == "0.5000"
    assert "SSIM" in shown(page, '#strip button[data-side="model:plain"] span')[0].text
    assert "SSIM" in page.find_element(By.CSS_SELECTOR, "#sheets .lead").text
    press(page, 'button[data-to="unseen"]')
    # This suite has no SSIM: the first metric that it has is taken, and no other can be chosen.
    pressed = [button.text for button in shown(page, 'button[data-switch][aria-pressed="true"]')]
    assert pressed == ["unseen", "PSNR RGB", "Over plain"]
    assert [button.text for button in shown(page, 'button[data-switch="metric"]')] == ["PSNR RGB", "PSNR Y"]
    assert "Set5 baby, motion" in page.find_element(By.ID, "before").get_attribute("alt")
    press(page, 'button[data-to="real"]')
    assert "lower is better" in shown(page, "#tables caption")[0].text
    assert len(shown(page, "#strip button")) == 4, "without a ground truth"
    assert "on no suite that knows" in page.find_element(By.ID, "generalisation").text


def test_intervals_and_published_numbers_can_be_hidden_but_not_on_paper(page):
    cell = "#tables .block.shown td i"
    assert shown(page, cell)
    press(page, '#gains button[data-toggle="intervals"]')
    assert not shown(page, cell)
    toggles = page.find_elements(By.CSS_SELECTOR, '[data-toggle="intervals"]')
    assert [toggle.get_attribute("aria-pressed") for toggle in toggles] == ["false", "false"]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert shown(page, cell)
    assert not shown(page, ".top")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_picture_degradation_and_sides_can_be_chosen(page):
    before, after = page.find_element(By.ID, "before"), page.find_element(By.ID, "after")
    first = before.get_attribute("src"), after.get_attribute("src")
    assert first[0] != first[1]
    assert before.get_attribute("alt") == "Set5 baby, b+n+j: bicubic"
    press(page, 'button[data-degradation="noise"]')
    assert before.get_attribute("alt") == "Set5 baby, noise: bicubic"
    assert before.get_attribute("src") != first[0]
    Select(page.find_element(By.ID, "picture")).select_by_visible_text("comic")
    Select(page.find_element(By.ID, "left")).select_by_visible_text("input")
    assert before.get_attribute("alt") == "Set14 comic, noise: input"
    press(page, 'button[data-side="truth"]')
    assert after.get_attribute("alt") == "Set14 comic, noise: ground truth"
    press(page, "#swap")
    assert after.get_attribute("alt") == "Set14 comic, noise: input"
    sides = [option.text for option in Select(page.find_element(By.ID, "left")).options]
    assert sides == ["input", "bicubic", "plain", HOSTILE, "ground truth"]


def test_all_pictures_zoom_and_move_in_step(page):
    def seen() -> tuple[float, float, float]:
        """(zoom, x, y) of the strip and of the slider's pictures: one for all. x and y in parts of the picture."""
        script = """return [...document.querySelectorAll('#compare .zoomed')].map((part) => {
            const [box, image] = [part, part.firstChild].map((one) => one.getBoundingClientRect());
            return [image.width / box.width, (box.left - image.left) / image.width, (box.top - image.top) / image.height];
        })"""
        found = page.execute_script(script)
        assert len(found) == 7, "five tiles and two sides"
        for other in found:
            assert other == pytest.approx(found[0], abs=0.02)
        return tuple(found[0])

    assert seen() == pytest.approx((1, 0, 0), abs=0.01)
    press(page, "#closer")
    assert seen() == pytest.approx((2, 0.25, 0.25), abs=0.01)
    tile = page.find_element(By.CSS_SELECTOR, 'button[data-side="model:bicubic"]')
    tile.send_keys("+")
    assert seen() == pytest.approx((4, 0.375, 0.375), abs=0.01)
    tile.send_keys(Keys.ARROW_RIGHT)
    assert seen() == pytest.approx((4, 0.425, 0.375), abs=0.01)
    size = tile.size["width"]
    ActionChains(page).move_to_element(tile.find_element(By.CLASS_NAME, "zoomed")).click_and_hold().move_by_offset(
        0, round(size * 0.4)
    ).release().perform()
    assert seen() == pytest.approx((4, 0.425, 0.275), abs=0.02), "what is held goes along"
    assert tile.get_attribute("aria-pressed") == "false", "dragging chooses nothing"
    tile.send_keys("-")
    assert seen()[0] == pytest.approx(2)
    page.execute_script(
        "arguments[0].dispatchEvent(new WheelEvent('wheel', {deltaY: -1, bubbles: true, cancelable: true}))",
        tile.find_element(By.TAG_NAME, "img"),
    )
    assert seen()[0] == pytest.approx(2.5)
    assert page.find_element(By.ID, "zoom").text == "2.5×"
    tile.send_keys("0")
    assert seen() == pytest.approx((1, 0, 0), abs=0.01)


def test_two_models_are_set_against_each_other(page):
    def lines() -> list[list[str]]:
        return [line.text.split() for line in page.find_elements(By.CSS_SELECTOR, "#paired tr")]

    Select(page.find_element(By.ID, "first")).select_by_visible_text("plain")
    Select(page.find_element(By.ID, "second")).select_by_visible_text("bicubic")
    assert lines()[0][:5] == ["mean", "of", "all", "3", "+0.10*"]
    assert [line[:3] for line in lines()[1:]] == [["clean", "3", "+0.30*"], ["noise", "3", "+0.10*"], ["b+n+j", "3", "−0.10*"]]
    assert "plain better: 6 of 9" in page.find_element(By.ID, "scatter-legend").text
    assert [part.text for part in page.find_elements(By.CSS_SELECTOR, "#ends h3")] == ["Where plain gains most", "Where bicubic gains most"]
    captions = [part.text for part in page.find_elements(By.CSS_SELECTOR, "#ends figcaption")]
    assert captions == [f"{image}, clean +0.30 dB" for image in ("Set5 baby", "Set5 bird", "Set14 comic")] + [
        f"{image}, b+n+j −0.10 dB" for image in ("Set5 baby", "Set5 bird", "Set14 comic")
    ]
    assert len(page.find_elements(By.CSS_SELECTOR, "#ends img")) == 18, "both models and the truth"
    press(page, "#turn")
    assert [line[2] for line in lines()[1:]] == ["−0.30*", "−0.10*", "+0.10*"]
    assert captions[3].replace("−", "+") in [part.text for part in page.find_elements(By.CSS_SELECTOR, "#ends figcaption")][:3]
    Select(page.find_element(By.ID, "under")).select_by_visible_text("noise")
    assert "bicubic better: 0 of 3" in page.find_element(By.ID, "scatter-legend").text
    Select(page.find_element(By.ID, "second")).select_by_visible_text("bicubic")
    assert lines() == [["choose", "two", "different", "models"]]


def test_dots_are_read_by_keyboard_and_by_pointing(page):
    plot, said = page.find_element(By.ID, "scatter"), page.find_element(By.ID, "dot")
    Select(page.find_element(By.ID, "first")).select_by_visible_text("plain")
    Select(page.find_element(By.ID, "second")).select_by_visible_text("bicubic")
    plot.send_keys(Keys.ARROW_RIGHT)
    assert said.text == "Set5 baby, clean: 25.30 against 25.00, +0.30 dB"
    plot.send_keys(Keys.END)
    assert said.text == "Set14 comic, b+n+j: 24.70 against 24.80, −0.10 dB"
    ring = page.find_element(By.CSS_SELECTOR, "#scatter .ring")
    last = ring.rect
    plot.send_keys(Keys.HOME)
    assert ring.rect != last
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    box = plot.rect
    across, down = (
        last["x"] + last["width"] / 2 - box["x"] - box["width"] / 2,
        last["y"] + last["height"] / 2 - box["y"] - box["height"] / 2,
    )
    ActionChains(page).move_to_element_with_offset(plot, round(across), round(down)).perform()
    assert "b+n+j: 24.70 against 24.80" in said.text


def test_one_sheet_is_shown_or_all(page):
    assert [figure.text.split("\n")[0] for figure in shown(page, "figure.sheet figcaption")] == ["Set5 baby rdsr8; 64 × 64 pixels"]
    Select(page.find_element(By.ID, "sheet")).select_by_visible_text("comic")
    (sheet,) = shown(page, "figure.sheet")
    assert [head.text for head in sheet.find_elements(By.CSS_SELECTOR, "tbody th")] == ["clean", "noise", "b+n+j"]
    assert page.find_element(By.ID, "picture").get_attribute("value") == "Set14/comic", "the slider shows the same picture"
    sources = page.execute_script(
        "return [...arguments[0].querySelectorAll('tbody td:last-child img')].map((image) => image.naturalWidth)", sheet
    )
    assert sources == [64, 64, 64], "the truth stands in each row"
    press(page, 'button[data-to="psnr-y"]')
    assert sheet.find_elements(By.CSS_SELECTOR, "td span.best")
    Select(page.find_element(By.ID, "sheet")).select_by_visible_text("every picture")
    assert len(shown(page, "figure.sheet")) == 3


def test_no_console_error_and_no_request_leaves_the_page(page):
    # By position: a click on a tile draws the tiles anew.
    for place in range(len(page.find_elements(By.TAG_NAME, "button"))):
        page.execute_script("(document.getElementsByTagName('button')[arguments[0]] || document.body).click()", place)
    for select in page.find_elements(By.TAG_NAME, "select"):
        script = (
            "for (const one of arguments[0].options) { arguments[0].value = one.value; arguments[0].dispatchEvent(new Event('change')); }"
        )
        page.execute_script(script, select)
    assert errors(page) == []
    assert outside(page) == []


def test_the_logs_would_show_an_error_and_a_request(driver, tmp_path):
    driver.get_log("browser")
    driver.get_log("performance")
    (tmp_path / "bad.html").write_text('<img src="http://127.0.0.1:9/a.png"><script>undefined_name()</script>')
    visit(driver, (tmp_path / "bad.html").as_uri())
    assert any("undefined_name" in message for message in errors(driver))
    assert outside(driver) == ["http://127.0.0.1:9/a.png"]


def test_every_control_is_reached_by_tab_in_the_order_of_the_page(page):
    wanted = page.execute_script(
        "return [...document.querySelectorAll('a[href], button, select, input, summary, [tabindex=\"0\"]')]"
        ".filter((one) => !one.disabled && one.checkVisibility()).length"
    )
    script = "const all = [...document.querySelectorAll('*')]; return [all.indexOf(document.activeElement), document.activeElement.tagName]"
    places = []
    for _ in range(wanted):
        ActionChains(page).send_keys(Keys.TAB).perform()
        place, tag = page.execute_script(script)
        assert tag != "BODY"
        places.append(place)
    assert places == sorted(places)
    assert len(set(places)) == wanted


@pytest.mark.parametrize("suite", ["rdsr8", "real"])
@pytest.mark.parametrize("width", [400, 1280])
def test_only_tables_scroll_sideways(page, width, suite):
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    press(page, f'button[data-to="{suite}"]')
    assert page.execute_script("return document.documentElement.scrollWidth == document.documentElement.clientWidth")
    assert page.execute_script("return window.innerWidth") == width
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_and_light(page):
    seen = set()
    for scheme in ("light", "dark"):
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        seen.add(tuple(style(page, "body, .card", "backgroundColor")[:2]))
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(seen) == 2


def test_without_script_everything_stands_there(driver, address):
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    visit(driver, address)
    try:
        assert len(shown(driver, "figure.sheet")) == 7
        assert len(shown(driver, "#tables table")) == 7, "four metrics of one suite, two of another, one of the third"
        assert shown(driver, "#duel noscript table, #duel table")
        assert not shown(driver, ".top, #compare")
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
