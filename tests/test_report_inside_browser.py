"""The section on what is inside the networks, in a real browser: tiles and dots know each other, by pointing and by keys."""

import re

import numpy as np
import pytest
from bench_rows import HOSTILE, two_models, write
from browser import pytestmark, visit  # noqa: F401
from explain_arrays import SIDE, channels, clusters, everything, save
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from test_report_browser import errors, outside, press, shown

from wildsr import report

DROPS = np.array([0.4, 0.1, 0.3, np.nan, 0.2])
SCORES = np.array([10.0, 50.0, 20.0, 40.0, 30.0])


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    """Six models: the first has five channels of which the last one's saliency alone is not 0, others four."""
    folder = tmp_path_factory.mktemp("inside")
    everything(folder, models=("plain", HOSTILE, "three", "four", "five", "six"), pictures=("bird", "baby"))
    bright = np.zeros((5, SIDE, SIDE), np.float16)
    bright[4] = 1.0
    for place, name in enumerate(("bird", "baby")):
        save(folder, "channels", "plain", f"p{place}", {"image": name}, "model0", **channels(5, scores=SCORES, drops=DROPS, map=bright))
    save(folder, "channels", "six", "p1", {"image": "only here"}, "model5", **channels())
    save(folder, "ddr", "plain", "all", None, "model0", **clusters(seeds=1))
    report.write_page(folder / "page.html", explain=[folder])
    return (folder / "page.html").as_uri()


@pytest.fixture
def page(driver, address):
    driver.get_log("browser")
    driver.get_log("performance")
    visit(driver, address)
    return driver


def column(page, place: int = 0):
    return page.find_elements(By.CSS_SELECTOR, ".column")[place]


def chosen(page, place: int = 0) -> str:
    """What the column says of its channel."""
    return column(page, place).find_element(By.CLASS_NAME, "dot-words").text


def picked(page) -> tuple[int, int]:
    """Column and line of the tile that is marked in the first grid, which is 3 wide and 2 high; it must be where the ring's dot is said."""
    style = page.execute_script("const s = document.querySelector('.pick').style; return [s.left, s.top]")
    left, top = (float(text.rstrip("%")) for text in style)
    return round(left / 100 * 3), round(top / 100 * 2)


def lit(page) -> list[int]:
    """Places of the tiles of the first grid that are bright."""
    script = """const canvas = document.querySelector('.tiles canvas'), pen = canvas.getContext('2d'), found = [];
        for (let place = 0; place < 5; place++) {
            const [x, y] = [(place % 3 + .5) / 3 * canvas.width, (Math.floor(place / 3) + .5) / 2 * canvas.height];
            if (pen.getImageData(x, y, 1, 1).data[0] > 150) found.push(place);
        }
        return found"""
    return page.execute_script(script)


def test_tiles_and_dots_point_at_each_other(page):
    assert chosen(page) == "Channel 1: score 50 (1 of 5), drop 0.100 dB (4 of 5)", "the highest score to begin with"
    assert picked(page) == (1, 0)
    ring = column(page).find_element(By.CSS_SELECTOR, ".ring")
    first = ring.rect
    canvas = column(page).find_element(By.TAG_NAME, "canvas")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    # The second tile of the second line is channel 4.
    size = canvas.size
    ActionChains(page).move_to_element_with_offset(canvas, 0, size["height"] // 4).perform()
    assert chosen(page).startswith("Channel 4: score 30 (3 of 5), drop 0.200 dB (3 of 5)")
    assert ring.rect != first
    fourth = ring.rect
    plot = column(page).find_element(By.CSS_SELECTOR, ".scatter")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    canvas.send_keys(Keys.HOME)
    assert chosen(page).startswith("Channel 0")
    box = plot.rect
    across = fourth["x"] + fourth["width"] / 2 - box["x"] - box["width"] / 2
    down = fourth["y"] + fourth["height"] / 2 - box["y"] - box["height"] / 2
    ActionChains(page).move_to_element_with_offset(plot, round(across), round(down)).perform()
    assert chosen(page).startswith("Channel 4"), "the dot marks the tile"
    assert picked(page) == (1, 1)


def test_keys_go_from_tile_to_tile_and_from_dot_to_dot(page):
    canvas = column(page).find_element(By.TAG_NAME, "canvas")
    canvas.send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert chosen(page).startswith("Channel 4")
    canvas.send_keys(Keys.ARROW_DOWN)
    assert chosen(page).startswith("Channel 4"), "there is no line below"
    canvas.send_keys(Keys.ARROW_LEFT)
    assert chosen(page) == "Channel 3: score 40 (2 of 5), drop not defined"
    assert column(page).find_element(By.CSS_SELECTOR, ".ring").get_attribute("visibility") == "hidden"
    plot = column(page).find_element(By.CSS_SELECTOR, ".scatter")
    seen = []
    for key in (Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT):
        plot.send_keys(key)
        seen.append(int(chosen(page).split()[1].rstrip(":")))
    assert seen == [0, 2, 4, 1, 1], "the highest drop first, none without a dot"


def test_a_click_keeps_a_channel(page):
    canvas = column(page).find_element(By.TAG_NAME, "canvas")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    height = canvas.size["height"] // 4
    ActionChains(page).move_to_element_with_offset(canvas, 0, height).click().move_to_element_with_offset(canvas, 0, -height).perform()
    assert chosen(page).startswith("Channel 4")
    canvas.send_keys(Keys.ESCAPE)
    ActionChains(page).move_to_element_with_offset(canvas, 1, -height).perform()
    assert chosen(page).startswith("Channel 1")


def test_order_and_map_change_the_grid(page):
    assert lit(page) == [4]
    press(page, 'button[data-to="saliency"][data-switch="order"]')
    assert lit(page) == [2], "third by score"
    assert picked(page) == (0, 0), "the chosen channel goes along"
    press(page, 'button[data-to="drop"]')
    assert lit(page) == [2], "third by drop"
    assert picked(page) == (0, 1)
    press(page, 'button[data-to="feature"]')
    assert [key.get_attribute("data-key") for key in shown(page, ".key")] == ["feature"]
    views = column(page).find_elements(By.CSS_SELECTOR, ".views figcaption")
    assert [view.text for view in views] == ["result", "feature", "saliency"]


def test_four_models_stand_side_by_side_and_others_can_be_chosen(page):
    names = [head.text for head in page.find_elements(By.CSS_SELECTOR, ".column .head select")]
    assert len(names) == 4
    Select(column(page, 3).find_element(By.TAG_NAME, "select")).select_by_visible_text("six")
    Select(page.find_element(By.ID, "channel-picture")).select_by_visible_text("baby")
    assert "No maps of this network on baby" in column(page, 3).text
    assert not [part for part in column(page, 3).find_elements(By.CSS_SELECTOR, "canvas, svg") if part.is_displayed()]
    assert chosen(page, 1).startswith("Channel 3"), "a name of script is only a name"


def test_axes_are_shared_or_each_its_own(page):
    def ticks() -> list[list[str]]:
        return [[text.text for text in one.find_elements(By.TAG_NAME, "text")] for one in page.find_elements(By.CSS_SELECTOR, ".scatter")]

    assert ticks()[0] == ticks()[1]
    press(page, "#same-axes")
    assert ticks()[0] != ticks()[1]


def test_clusters_are_drawn_by_any_view_and_name_their_dots(page):
    figure = page.find_element(By.CLASS_NAME, "cluster")
    path = figure.find_element(By.CSS_SELECTOR, ".dots")
    first = path.get_attribute("d")
    press(page, 'button[data-to="pca"]')
    assert path.get_attribute("d") != first
    press(page, 'button[data-to="t1"]')
    assert "no such view" in figure.text
    press(page, 'button[data-to="t0"]')
    assert path.get_attribute("d") == first
    plot = figure.find_element(By.TAG_NAME, "svg")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    x, y = map(int, re.findall(r"M(\d+) (\d+)h0", first)[0])
    size = plot.size["width"]
    ActionChains(page).move_to_element_with_offset(plot, round((x / 1000 - 0.5) * size), round((y / 1000 - 0.5) * size)).perform()
    assert re.fullmatch(r"photo\d, clean", figure.find_element(By.CLASS_NAME, "dot-words").text)


def test_no_error_no_request_and_nothing_wider_than_the_screen(page):
    for width in (400, 1280):
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
        assert page.execute_script("return document.documentElement.scrollWidth == document.documentElement.clientWidth")
        assert page.execute_script("return window.innerWidth") == width
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    for button in page.find_elements(By.TAG_NAME, "button"):
        page.execute_script("arguments[0].click()", button)
    for select in page.find_elements(By.TAG_NAME, "select"):
        script = (
            "for (const one of arguments[0].options) { arguments[0].value = one.value; arguments[0].dispatchEvent(new Event('change')); }"
        )
        page.execute_script(script, select)
    assert errors(page) == []
    assert outside(page) == []


def test_beside_a_benchmark_both_work(driver, tmp_path):
    report.write_page(tmp_path / "page.html", [write(tmp_path, two_models())], explain=[everything(tmp_path / "explain")])
    driver.get_log("browser")
    visit(driver, (tmp_path / "page.html").as_uri())
    assert shown(driver, "#tables table")
    press(driver, 'button[data-to="drop"]')
    assert driver.find_element(By.CSS_SELECTOR, 'button[data-to="drop"]').get_attribute("aria-pressed") == "true"
    assert shown(driver, "#paired tr")
    assert shown(driver, "#inside .tiles")
    assert errors(driver) == []


def test_without_script_all_maps_stand_there(driver, address):
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    visit(driver, address)
    try:
        assert len(shown(driver, ".channel-still")) == 12
        assert shown(driver, "#clusters .dots")
        assert not shown(driver, "#columns, .explore-tools")
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
