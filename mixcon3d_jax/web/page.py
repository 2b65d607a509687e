"""The page: a shape with its labels on top, the search below."""

import functools
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

import gradio as gr

from mixcon3d_jax.errors import InputError
from mixcon3d_jax.inference.command_line import MODES
from mixcon3d_jax.inference.index import Index
from mixcon3d_jax.inference.model import Model
from mixcon3d_jax.web.answers import ranked_labels, search
from mixcon3d_jax.web.points_model import points_glb
from mixcon3d_jax.web.shapes import Shape, read_shape
from mixcon3d_jax.web.uploads import ACCEPTED

_BY_FORMAT = "as the format says (glTF)"
_SHOWN_LABELS, _NEAREST = 10, 12
_CAMERA_DISTANCE = 3  # from the centre of a ball of radius 1
# Seconds after which a visitor's shape and files are forgotten.
_FORGOTTEN_AFTER = 3600


def build_page(
    model: Model, labels: tuple[str, ...], index: Index | None, folder: Path
) -> gr.Blocks:
    """Lays the page out.

    Args:
      model: that answers.
      labels: class names to begin with.
      index: shapes to search among; None for a page without search.
      folder: for files that are shown.
    """
    files = (_FORGOTTEN_AFTER, _FORGOTTEN_AFTER)
    with gr.Blocks(title="MixCon3D", analytics_enabled=False, delete_cache=files) as page:
        gr.Markdown(f"# MixCon3D\n{_plain(model.weights.description)}")
        shape = gr.State(None, time_to_live=_FORGOTTEN_AFTER)
        _shape_part(model, labels, shape, folder)
        if index is not None:
            _search_part(model, index, shape)
    return page


def _shape_part(model: Model, labels: tuple[str, ...], shape: gr.State, folder: Path) -> None:
    with gr.Row():
        with gr.Column():
            files = gr.File(
                file_count="multiple",
                file_types=list(ACCEPTED),
                label="A mesh or a point cloud, with its textures if it has any",
                elem_id="files",
                height=140,
            )
            axis = gr.Radio(
                [_BY_FORMAT, "y", "z"], value=_BY_FORMAT, label="The axis that points up",
                elem_id="axis",
            )  # fmt: skip
            viewer = gr.Model3D(
                label="Points that the model sees; drag to turn",
                camera_position=(None, None, _CAMERA_DISTANCE),
                elem_id="viewer",
                height=420,
            )
        with gr.Column():
            names = gr.Textbox(
                ", ".join(labels), label="Names to choose among", lines=3, elem_id="names"
            )
            looks = [(MODES[mode], mode) for mode in model.modes]
            mode = gr.Radio(looks, value="point", label="Look at it", elem_id="mode")
            button = gr.Button("Classify", variant="primary", elem_id="classify")
            ranking = gr.Label(
                num_top_classes=_SHOWN_LABELS, label="What fits best", elem_id="ranking"
            )
            status = gr.Markdown(elem_id="status")
    views = gr.Gallery(label="Its renders", columns=6, interactive=False, elem_id="views")

    @_with_messages
    def show(paths, axis):
        if not paths:
            return None, None, [], ""
        shown = read_shape(paths, None if axis == _BY_FORMAT else axis, model)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".glb", delete=False) as glb:
            glb.write(points_glb(shown.points, shown.prepared.colors))
        return shown, glb.name, list(shown.prepared.views), _listed(shown.prepared.notes)

    @_with_messages
    def classify(shape: Shape | None, names, mode):
        if shape is None:
            return None, ""
        start = time.perf_counter()
        ranked = ranked_labels(model, shape, names, mode)
        return ranked, f"{_plain(shape.name)}: classified in {time.perf_counter() - start:.2f} s"

    notes = gr.Markdown(elem_id="notes")
    question = {"fn": classify, "inputs": [shape, names, mode], "outputs": [ranking, status]}
    for changed in (files.change, axis.input):
        read = _on(changed, show, [files, axis], [shape, viewer, views, notes])
        _on(read.success, **question)
    for asked in (button.click, mode.input, names.submit):
        _on(asked, **question)


def _search_part(model: Model, index: Index, shape: gr.State) -> None:
    gr.Markdown(f"## Search {len(index):,} shapes, looked at {MODES[index.mode]}")
    with gr.Row():
        with gr.Column():
            text = gr.Textbox(label="By words", placeholder="a red chair", elem_id="text")
            by_text = gr.Button("Find what the words say", elem_id="by-text")
        with gr.Column():
            image = gr.Image(
                type="filepath", sources=["upload", "clipboard"], label="By a picture", height=140,
                elem_id="image",
            )  # fmt: skip
            by_image = gr.Button("Find what looks like the picture", elem_id="by-image")
        with gr.Column():
            gr.Markdown("By the shape above")
            by_shape = gr.Button("Find shapes like it", elem_id="by-shape")
    found = gr.Gallery(
        label="The nearest, with their cosines", columns=6, interactive=False, elem_id="found"
    )
    notes = gr.Markdown(elem_id="search-notes")

    def answer(query: Callable):
        figures, said = search(index, query, _NEAREST)
        return figures, _listed(said)

    @_with_messages
    def search_text(text):
        if not text.strip():
            raise InputError("type what to look for")
        return answer(lambda: model.embed_text([text]))

    @_with_messages
    def search_image(path):
        if path is None:
            raise InputError("drop a picture first")
        return answer(lambda: model.embed_images([path]))

    @_with_messages
    def search_shape(shape: Shape | None):
        if shape is None:
            raise InputError("drop a mesh or a point cloud above first")
        return answer(lambda: shape.embedding(index.mode))

    for asked in (by_text.click, text.submit):
        _on(asked, search_text, [text], [found, notes])
    _on(by_image.click, search_image, [image], [found, notes])
    _on(by_shape.click, search_shape, [shape], [found, notes])


def _on(event: Callable, fn: Callable, inputs: list, outputs: list):
    """Calls `fn` on an event; all calls wait for each other, since they use one model."""
    return event(fn, inputs, outputs, concurrency_id="model", api_visibility="private")


def _with_messages(handler: Callable) -> Callable:
    """What a visitor can mend is said on the page; anything else is told to the terminal."""

    @functools.wraps(handler)
    def wrapped(*args):
        try:
            return handler(*args)
        except InputError as error:
            raise gr.Error(_plain(str(error)), duration=None, print_exception=False) from error
        except Exception as error:
            traceback.print_exc()
            said = "something went wrong; the terminal in which this page runs says what"
            raise gr.Error(said, duration=None, print_exception=False) from error

    return wrapped


def _listed(notes: Iterable[str]) -> str:
    return "\n".join(f"* {_plain(note)}" for note in notes)


def _plain(text: str) -> str:
    """Text that Markdown and HTML show as it is."""
    return "".join(f"&#{ord(c)};" if c in "&<>*_`[]()#\\|~" else c for c in text)
