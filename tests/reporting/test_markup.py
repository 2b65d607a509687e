import io

import numpy as np
import pytest
from PIL import Image

from mixcon3d_jax.data.schema import Record, encode_record
from mixcon3d_jax.reporting.markup import Html, join, picture, table, tag
from mixcon3d_jax.reporting.thumbnails import SIZE, thumbnail


def test_text_is_escaped_and_html_is_not():
    inner = tag("b", "1 < 2 & 3")
    assert inner == "<b>1 &lt; 2 &amp; 3</b>"
    assert tag("p", inner, ' "x"', title='a "b" <c>', class_="d", hidden=None) == (
        '<p title="a &quot;b&quot; &lt;c&gt;" class="d"><b>1 &lt; 2 &amp; 3</b> &quot;x&quot;</p>'
    )
    assert join(["<", Html("<br>"), 3]) == "&lt;<br>3"
    assert tag("meta", http_equiv="a") == '<meta http-equiv="a">'


def test_a_table_has_its_figures_to_the_right():
    found = table(["class", "%"], [["<chair>", 5]])
    assert "<td>&lt;chair&gt;</td>" in found
    assert '<td class="number">5</td>' in found


def test_a_picture_is_in_the_page():
    assert (
        picture(b"\x00", 'a "b"') == '<img src="data:image/png;base64,AA==" alt="a &quot;b&quot;">'
    )


@pytest.mark.parametrize("points", [1, 300, 9000])
def test_a_thumbnail_shows_the_stored_colours(points):
    """A red cloud before white, in the middle of the picture."""
    rng = np.random.default_rng(0)
    record = Record(
        id="a",
        dataset="made",
        class_name="",
        points=rng.normal(size=(points, 3)).astype(np.float32) + 5,
        colors=np.tile(np.uint8([255, 0, 0]), (points, 1)),
        view_embeddings=np.zeros((0, 4)),
        thumbnail_embedding=np.zeros((0, 4)),
        texts=(),
    )
    image = np.asarray(Image.open(io.BytesIO(thumbnail(encode_record(record, 4)))).convert("RGB"))
    assert image.shape == (SIZE, SIZE, 3)
    assert (image[0] == 255).all()
    drawn = (image[..., 0] > 60) & (image[..., 1] < 60) & (image[..., 2] < 60)
    rows, columns = np.nonzero(drawn)
    assert len(rows)
    for places in (rows, columns):
        assert abs(np.mean([places.min(), places.max()]) - SIZE / 2) < SIZE / 8
