"""The page itself, of Gradio's parts."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import themes

from wildsr.app.work import FORMATS, StoppedError, Stops, Workshop
from wildsr.errors import UserError

_ENDINGS = [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif", ".bmp", ".gif", ".heic", ".heif", ".jp2", ".ppm", ".tga"]

_CSS = """
.gradio-container { max-width: 1280px !important; width: 100%; margin: auto; }
#title h1 { margin-bottom: 0; }
#title p, #facts p, #limits p, #result p { color: var(--body-text-color-subdued); overflow-wrap: anywhere; }
footer { display: none !important; }
"""

_SYSTEM = ("system-ui", "-apple-system", "Segoe UI", "sans-serif")
_MONO = ("ui-monospace", "Consolas", "monospace")


def build(shop: Workshop) -> tuple[gr.Blocks, dict[str, Any]]:
    """The page for a workshop, and what its server is to be told of its look. Fonts are the system's: the page asks nobody for anything."""
    stops = Stops()
    limits = shop.limits

    def look(path: str | None) -> tuple[Any, str]:
        if path is None:
            return gr.update(value=None, visible=False), ""
        shop.folder.mkdir(parents=True, exist_ok=True)
        small = Path(tempfile.mkdtemp(prefix="made-", dir=shop.folder)) / "small.png"
        with _told():
            facts = shop.look(Path(path), small)
        notes = "".join(f"  \n{_plain(note)}" for note in facts.notes)
        return gr.update(value=str(small), visible=True), _plain(facts.text) + notes

    def make(
        path: str | None,
        model: str,
        form: str,
        outscale: float | None,
        ensemble: bool,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008 (Gradio looks for it there)
    ) -> tuple[Any, Any, Any, str]:
        if path is None:
            raise gr.Error("drop a picture first", print_exception=False)
        progress(0, desc="reading")
        with _told():
            try:
                with stops.turn(request.session_hash or "") as stop:
                    made = shop.make(
                        Path(path),
                        model,
                        form=form,
                        outscale=outscale or None,
                        ensemble=ensemble,
                        stop=stop,
                        progress=lambda done, total: progress((done, total), desc="upscaling", unit="tiles"),
                    )
            except StoppedError:
                return gr.skip(), gr.skip(), gr.skip(), "stopped"
        text = _plain(made.text) + "".join(f"  \n{_plain(note)}" for note in made.notes)
        of = "" if made.reduced == 1 else f", shown {made.reduced} times smaller"
        whole = gr.update(value=tuple(map(str, made.whole)), visible=True, label=f"bicubic | {model}{of}")
        detail = gr.update(value=made.detail and tuple(map(str, made.detail)), visible=made.detail is not None)
        return whole, detail, gr.update(value=str(made.file), visible=True, label=f"Download {made.file.name}"), text

    def ask(request: gr.Request) -> None:
        stops.ask(request.session_hash or "")

    def end(request: gr.Request) -> None:
        stops.stop(request.session_hash or "")

    with gr.Blocks(title="wildsr", analytics_enabled=False, delete_cache=(600, 3600), fill_width=True) as page:
        gr.Markdown(
            "# wildsr\nDrop a photograph, choose a model, compare, download. It stays on the machine that serves this page.",
            elem_id="title",
        )
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                picture = gr.File(label="Picture", file_types=_ENDINGS, type="filepath", height=150, elem_id="picture")
                small = gr.Image(show_label=False, interactive=False, visible=False, height=220, buttons=[], elem_id="small")
                facts = gr.Markdown(elem_id="facts")
                names = [(offer.label, offer.name) for offer in shop.offers]
                model = gr.Dropdown(names, value=names[0][1], label="Model", elem_id="model")
                form = gr.Radio(list(FORMATS), value=FORMATS[0], label="Format", elem_id="format")
                with gr.Accordion("More", open=False):
                    outscale = gr.Number(value=None, label="Scale", info="empty: the model's own", minimum=0, elem_id="scale")
                    ensemble = gr.Checkbox(label="Ensemble", info="mean over eight turns: eight times the time", elem_id="ensemble")
                with gr.Row():
                    start = gr.Button("Upscale", variant="primary", elem_id="start")
                    stop = gr.Button("Stop", elem_id="stop")
                gr.Markdown(f"At most {limits.max_pixels / 1e6:g} megapixels and {limits.seconds:g} seconds a picture.", elem_id="limits")
            with gr.Column(scale=3, min_width=340):
                whole = gr.ImageSlider(label="bicubic | model", interactive=False, visible=False, type="filepath", elem_id="whole")
                detail = gr.ImageSlider(
                    label="the same, where there is most to see, at full size",
                    interactive=False,
                    visible=False,
                    type="filepath",
                    elem_id="detail",
                )
                result = gr.Markdown(elem_id="result")
                download = gr.DownloadButton("Download", visible=False, elem_id="download")
        picture.change(look, picture, [small, facts], show_progress="hidden", api_visibility="private")
        start.click(ask, None, None, queue=False, api_visibility="private")
        start.click(
            make,
            [picture, model, form, outscale, ensemble],
            [whole, detail, download, result],
            concurrency_limit=1,
            show_progress_on=result,
            api_visibility="private",
        )
        stop.click(end, None, None, queue=False, api_visibility="private")
    page.queue(max_size=8)
    theme = themes.Base(font=_SYSTEM, font_mono=_MONO, primary_hue="blue", neutral_hue="slate")
    return page, {"theme": theme, "css": _CSS}


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What a user did wrong, shown as one line and not in the log."""
    try:
        yield
    except UserError as error:
        raise gr.Error(_plain(str(error)), print_exception=False, duration=None) from None


def _plain(text: str) -> str:
    """Text that Markdown and HTML leave alone."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{char}" if char in "\\`*_[]#|~" else char for char in text)
