"""What visitors of the demo page do and see."""

import io
import re
import socket

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from mixcon3d_jax import demo
from tests.browser.conftest import MOST_MEGABYTES, PATIENCE
from tests.use import refused

expect.set_options(timeout=PATIENCE)


def drop(page: Page, *paths) -> None:
    page.locator("#files input[type=file]").set_input_files([str(path) for path in paths])


def message(page: Page) -> str:
    """The message that pops up."""
    shown = page.locator(".toast-message-text").first
    shown.wait_for()
    return shown.inner_text()


def classified(page: Page) -> None:
    expect(page.locator("#status")).to_contain_text("classified in")


def seen(page: Page) -> np.ndarray:
    """The picture in the 3D viewer."""
    png = page.locator("#viewer canvas").screenshot()
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), int)


def colored_pixels(page: Page) -> int:
    picture = seen(page)
    return int((np.ptp(picture, axis=2) > 30).sum())


def wait_for_picture(page: Page) -> None:
    for _ in range(PATIENCE // 500):
        if page.locator("#viewer canvas").count() and colored_pixels(page) > 200:
            return
        page.wait_for_timeout(500)
    pytest.fail("the viewer shows nothing")


@pytest.fixture
def shown(page, assets) -> Page:
    """The page with a mesh on it."""
    drop(page, assets / "wedge.glb")
    classified(page)
    return page


def test_a_mesh_is_seen_in_3d_with_its_renders_and_turns(shown):
    wait_for_picture(shown)
    expect(shown.locator("#views img")).to_have_count(12)
    before = seen(shown)
    x, y, width, height = shown.locator("#viewer canvas").bounding_box().values()
    shown.mouse.move(x + width / 2, y + height / 2)
    shown.mouse.down()
    shown.mouse.move(x + width / 2 + 120, y + height / 2, steps=6)
    shown.mouse.up()
    shown.wait_for_timeout(1000)
    assert (np.abs(seen(shown) - before) > 30).any(axis=2).sum() > 200


def test_the_names_can_be_edited(shown):
    shown.locator("#names textarea").fill("a crown, wedge of cheese, tower")
    shown.locator("#classify").click()
    ranking = shown.locator("#ranking")
    for name in ("a crown", "wedge of cheese", "tower"):
        expect(ranking).to_contain_text(name)
    expect(ranking).not_to_contain_text("airplane")
    percents = [int(found) for found in re.findall(r"(\d+)%", ranking.inner_text())]
    assert percents == sorted(percents, reverse=True)
    assert abs(sum(percents) - 100) <= 2


def test_renders_can_be_looked_at_too(shown):
    before = shown.locator("#ranking").inner_text()
    shown.get_by_label("by points and renders").check()
    expect(shown.locator("#ranking")).not_to_have_text(before, use_inner_text=True)
    classified(shown)


def test_a_cloud_asks_for_its_axis(page, assets):
    drop(page, assets / "cloud0.npz")
    assert "cloud0.npz: files of this kind don't say which axis points up" in message(page)
    page.locator("#axis").get_by_label("z", exact=True).check()
    classified(page)
    wait_for_picture(page)
    expect(page.locator("#notes")).to_contain_text("the cloud has 50 points")


def test_an_obj_comes_with_its_material(page, tmp_path):
    (tmp_path / "a.obj").write_text(
        "mtllib a.mtl\nusemtl red\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\nf 2 3 4\n"
    )
    (tmp_path / "a.mtl").write_text("newmtl red\nKd 1 0 0\n")
    page.locator("#axis").get_by_label("y", exact=True).check()
    drop(page, tmp_path / "a.obj", tmp_path / "a.mtl")
    classified(page)
    wait_for_picture(page)
    picture = seen(page)
    assert (picture[..., 0] - picture[..., 1] > 100).sum() > 200


@pytest.mark.parametrize("button", ["by-text", "by-image", "by-shape"])
def test_shapes_are_found(shown, tmp_path, button):
    if button == "by-text":
        shown.locator("#text textarea, #text input").fill("a red chair")
    elif button == "by-image":
        Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
        shown.locator("#image input[type=file]").set_input_files(str(tmp_path / "red.png"))
        shown.locator("#image img").wait_for()
    shown.locator(f"#{button}").click()
    found = shown.locator("#found")
    expect(found.locator("img")).to_have_count(4)
    expect(found).to_contain_text("cloud2.npz (no such file here)")
    if button == "by-shape":
        nearest = found.locator(".caption-label").first
        expect(nearest).to_contain_text("1.000")
        expect(nearest).to_contain_text("wedge.glb")


def test_a_long_text_is_cut_and_said(page):
    page.locator("#text textarea, #text input").fill("a very red chair " * 600)
    page.locator("#by-text").click()
    expect(page.locator("#search-notes")).to_contain_text("only its beginning counts")


def broken(folder, assets):
    path = folder / "broken.glb"
    path.write_bytes((assets / "wedge.glb").read_bytes()[:200])
    return [path], "broken.glb: truncated: its header says"


def too_large(folder, assets):
    path = folder / "large.ply"
    path.write_bytes(bytes((MOST_MEGABYTES << 20) + 1))
    return [path], "exceed the maximum allowed size"


def of_another_kind(folder, assets):
    path = folder / "notes.pdf"
    path.write_text("a chair")
    return [path], "Invalid file type: notes.pdf. Only .glb"


def no_shape(folder, assets):
    path = folder / "texture.png"
    Image.new("RGB", (4, 4)).save(path)
    return [path], "texture.png: no mesh or point cloud; drop one of .glb"


def two_shapes(folder, assets):
    return [assets / "cloud0.npz", assets / "cloud1.npz"], "drop one shape at a time"


@pytest.mark.parametrize("make", [broken, too_large, of_another_kind, no_shape, two_shapes])
def test_what_cannot_be_used_is_said_and_the_page_goes_on(page, tmp_path, assets, make):
    paths, expected = make(tmp_path, assets)
    drop(page, *paths)
    said = message(page)
    assert re.search(expected, said), said
    assert str(tmp_path) not in said
    page.reload()
    drop(page, assets / "wedge.glb")
    classified(page)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("", "the names names no class"),
        ("chair", "'chair' is the only label"),
        ("chair, chair", "more than once"),
        (", ".join(f"thing {i}" for i in range(201)), "201 names; give at most 200"),
        ("/etc/hostname", "'/etc/hostname' is the only label"),
    ],
)
def test_names_that_say_nothing(shown, names, expected):
    shown.locator("#names textarea").fill(names)
    shown.locator("#classify").click()
    assert expected in message(shown)


def test_a_search_for_nothing(page):
    for button, expected in (
        ("by-text", "type what to look for"),
        ("by-image", "drop a picture first"),
        ("by-shape", "drop a mesh or a point cloud above first"),
    ):
        page.locator(f"#{button}").click()
        expect(page.locator(".toast-message-text", has_text=expected)).to_be_visible()


def test_it_is_there_for_this_machine_alone(address):
    port = int(address.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), 5):
        pass
    own = socket.gethostbyname(socket.gethostname())
    if not own.startswith("127."):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((own, port), 5)


def test_a_port_that_is_taken(address, workdir, tiny_clip):
    port = address.rsplit(":", 1)[1]
    said = refused(demo.main, f"--model={workdir}", f"--clip={tiny_clip}", f"--port={port}")
    assert f"nothing can listen at 127.0.0.1:{port}; say another --port" in said


def test_an_index_that_is_not_there(tmp_path, workdir, tiny_clip):
    index = tmp_path / "none.npz"
    said = refused(demo.main, f"--model={workdir}", f"--clip={tiny_clip}", f"--index={index}")
    assert f"{index}: no such file; make it with" in said
