"""The page's server: on this machine alone unless another address is asked for."""

import contextlib
import ipaddress
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from wildsr.app.guard import OwnPagesAlone
from wildsr.app.work import Limits, Workshop, offers
from wildsr.errors import UserError

LOOPBACK = "127.0.0.1"


def serve(
    models: Sequence[Path],
    *,
    host: str = LOOPBACK,
    port: int | None = None,
    limits: Limits | None = None,
    device: str = "auto",
    browser: bool = True,
    say: Callable[[str], None] = print,
    until: threading.Event | None = None,
) -> None:
    """Serves the page until Ctrl-C, or until `until` is set. models: files and run directories to choose from.

    host: the address to listen at; others than this machine's own open the page to whoever reaches it, and `say` tells. port: None takes a
    free one from 7860 on. Uploads and results lie in a temporary folder, which goes when the page ends.

    Raises UserError when Gradio is missing, no model can be read, and when the address or port cannot be had."""
    limits = limits or Limits()
    if port is not None and not 0 < port < 65536:
        raise UserError(f"port = {port}: use 1 to 65535")
    if not limits.max_pixels > 0 or not limits.seconds > 0:
        raise UserError(f"{limits.max_pixels / 1e6:g} megapixels and {limits.seconds:g} seconds a picture: use positive numbers")
    choices, refused = offers(models)
    for line in refused:
        say(f"left out: {line}")
    with tempfile.TemporaryDirectory(prefix="wildsr-app-") as name:
        folder = Path(name)
        # Gradio reads these when it is imported. It would look for newer versions and report its use.
        os.environ.update(
            {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder / "uploads"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        )
        try:
            import gradio  # noqa: F401
        except ImportError:
            raise UserError("the page needs Gradio: pip install 'wildsr[app]'") from None
        from starlette.middleware import Middleware

        from wildsr.app.page import build

        shop = Workshop(choices, limits, folder / "results", device)
        page, look = build(shop)
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port,
                share=False,
                inbrowser=browser,
                quiet=True,
                prevent_thread_lock=True,
                max_file_size=limits.upload,
                allowed_paths=[str(folder)],
                footer_links=[],
                ssr_mode=False,
                enable_monitoring=False,
                app_kwargs={"middleware": [Middleware(OwnPagesAlone, here=_is_own(host))]},
                **look,
            )
        except OSError as error:
            where = f"port {port}" if port else "ports 7860 to 7959"
            raise UserError(f"{host}, {where}: cannot be listened at ({error}): use another --port or --host") from None
        try:
            say(f"{address}   (Ctrl-C ends it)")
            if not _is_own(host):
                say(f"open to everybody who reaches {host}: nothing asks for a password")
            sys.stdout.flush()
            _wait(until)
        finally:
            shop.close()
            with contextlib.suppress(Exception):  # what Gradio runs into while it ends is nobody's concern
                page.close(verbose=False)


def _is_own(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wait(until: threading.Event | None) -> None:
    event = until or threading.Event()
    while not event.wait(0.5):  # a wait without an end would not hear Ctrl-C on every system
        pass
