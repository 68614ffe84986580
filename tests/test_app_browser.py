"""The page in a real browser: a picture is uploaded, upscaled, compared and downloaded, and nobody else is asked for anything."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import pytestmark, webdriver  # noqa: F401
from conftest import photograph
from selenium.webdriver.common.by import By

from wildsr import images, upscale

pytest.importorskip("gradio", reason="gradio is not installed, so the page is not opened")
ROOT = Path(__file__).parents[1]


def wait(until: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := until():
            return found
        time.sleep(0.1)
    raise AssertionError(f"nothing came in {seconds} s")


@pytest.fixture(scope="module")
def server(model, tmp_path_factory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "wildsr", "app", "--model", str(model), "--no-browser", "--port", str(port), "--device", "cpu"]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "TMPDIR": str(tmp_path_factory.mktemp("tmp"))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"http://127.0.0.1:{port}"), line + str(process.stderr and process.stderr.read())
        yield f"http://127.0.0.1:{port}"
        busy = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
        assert busy.returncode == 2
        assert f"port {port}: cannot be listened at" in busy.stderr
        assert "Traceback" not in busy.stderr
        process.send_signal(signal.SIGTERM)  # unlike Ctrl-C, it is heard also where tests run in the background
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out, err) == (143, "", "")
    # Uploads and results are gone with it.
    assert not list(Path(variables["TMPDIR"]).glob("wildsr-app-*"))


def text(driver: "webdriver.Chrome", name: str) -> str:
    return driver.execute_script("return document.getElementById(arguments[0])?.innerText ?? ''", name)


def upload(driver: "webdriver.Chrome", address: str, path: Path) -> None:
    driver.get(address)
    wait(lambda: driver.find_elements(By.CSS_SELECTOR, "#picture input[type=file]"))[0].send_keys(str(path))


def test_a_picture_is_uploaded_upscaled_and_downloaded(server, driver, model, tmp_path):
    photo = photograph(60, 3)
    photo.save(tmp_path / "my 'photo' #1.png", dpi=(300, 300))
    upload(driver, server, tmp_path / "my 'photo' #1.png")
    wait(lambda: "60 × 60 pixels, colour, 8 bit" in text(driver, "facts"))
    driver.find_element(By.ID, "start").click()
    wait(lambda: "made in" in text(driver, "result"))
    assert "240 × 240 pixels" in text(driver, "result")
    slider = wait(lambda: driver.find_elements(By.CSS_SELECTOR, "#whole img"))
    shown = [wait(lambda image=image: image.get_property("naturalWidth")) for image in slider[:2]]
    assert shown == [240, 240]

    # The button's own way to the file: the address that it would fetch.
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path / "got")})
    driver.find_element(By.ID, "download").click()
    (got,) = wait(lambda: [path for path in (tmp_path / "got").glob("*.png") if path.stat().st_size])
    expected = upscale.enlarge(upscale.load(model, device="cpu", precision="auto"), images.read_photo(tmp_path / "my 'photo' #1.png"))
    result = images.read_photo(got)
    assert np.array_equal(result.pixels, np.concatenate(list(expected.rows)))
    assert result.meta.dpi == pytest.approx((300, 300), rel=1e-3)

    asked = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    requests = [one["params"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    # What the browser's own pages ask for, such as its new tab's, is not ours.
    addresses = {one["request"]["url"] for one in requests if one["documentURL"].startswith(server)}
    assert any(address.startswith(server) for address in addresses)
    assert not [address for address in addresses if not address.startswith((server, "data:", "blob:"))]
    assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def test_what_is_no_picture_is_said_in_one_line(server, driver, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    upload(driver, server, tmp_path / "bad.png")
    said = wait(lambda: driver.execute_script("return document.querySelector('.toast-body')?.innerText ?? ''"))
    assert "bad.png: not a picture" in said
    assert "Traceback" not in said
    assert str(tmp_path) not in said


def test_without_a_picture_the_button_says_so(server, driver):
    driver.get(server)
    wait(lambda: driver.find_elements(By.ID, "start"))[0].click()
    assert "drop a picture first" in wait(lambda: driver.execute_script("return document.querySelector('.toast-body')?.innerText ?? ''"))


def test_files_outside_are_not_served(server):
    for path in ("/etc/hostname", str(ROOT / "README.md")):
        request = urllib.request.Request(f"{server}/gradio_api/file={path}")
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request)
        assert error.value.code in (403, 404)
        error.value.close()


def test_another_site_s_page_is_not_served(server):
    for path, headers in (("gradio_api/upload", {"Origin": "https://evil.example"}), ("config", {"Host": "evil.example"})):
        request = urllib.request.Request(f"{server}/{path}", data=b"x" if "upload" in path else None, headers=headers)
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request)
        assert (error.value.code, error.value.read()) == (403, b"only for this server's own page\n")
        error.value.close()


def test_the_page_fits_a_telephone(server, driver):
    driver.set_window_size(390, 844)
    driver.get(server)
    wait(lambda: driver.find_elements(By.ID, "start"))
    assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth + 1")
    driver.set_window_size(1280, 1000)
