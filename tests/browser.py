"""A real browser for the tests of pages; where there is none, they are skipped with a sentence."""

import shutil
from pathlib import Path

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed, so no page is opened in a browser")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no Chromium with chromedriver was found (Debian: chromium and chromium-driver), so no page is opened"
)
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,900"
)


def start(profile: Path) -> "webdriver.Chrome":
    """A browser with a profile of its own; what it asks for and complains of stands in its logs."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in [*FLAGS.split(), f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # A path of its own keeps selenium from looking for a driver to download.
    return webdriver.Chrome(options=options, service=Service(executable_path=str(DRIVER)))


def visit(driver: "webdriver.Chrome", address: str) -> None:
    """Opens a page and returns when its scripts have run, for the driver may return while the page is read. From a blank one, so that what
    is ready cannot be the page before."""
    driver.get("about:blank")
    driver.get(address)
    ready = "return location.href.startsWith(arguments[0]) && document.readyState === 'complete'"
    WebDriverWait(driver, 30).until(lambda driver: driver.execute_script(ready, address))
