import numpy as np
import pytest
import trimesh
from PIL import Image

from mixcon3d_jax.assets import AssetError, load_asset, sample_points

# A box of three different extents, off the origin, so that a wrong axis or sign shows.
LOW, HIGH = np.array([0.0, 0.0, 0.0]), np.array([1.0, 2.0, 3.0])


def box():
    return trimesh.creation.box(bounds=[LOW, HIGH])


def sampled(path, up_axis="y", count=500):
    return sample_points(load_asset(path, up_axis), count, np.random.default_rng(0))


@pytest.mark.parametrize("suffix", ["glb", "gltf", "obj", "ply", "off", "stl"])
@pytest.mark.parametrize("up_axis", ["y", "z"])
def test_every_mesh_format_and_up_axis(tmp_path, suffix, up_axis):
    path = tmp_path / f"box.{suffix}"
    if suffix == "gltf":
        for name, data in trimesh.exchange.gltf.export_gltf(box().scene()).items():
            (tmp_path / (path.name if name.endswith(".gltf") else name)).write_bytes(data)
    else:
        box().export(path)
    points, colors, warnings = sampled(path, up_axis)
    # (x, y, z) -> (x, z, -y) takes [0, 1] x [0, 2] x [0, 3] to [0, 1] x [0, 3] x [-2, 0].
    low, high = (LOW, HIGH) if up_axis == "y" else ([0, 0, -2], [1, 3, 0])
    np.testing.assert_allclose(points.min(axis=0), low, atol=0.05)
    np.testing.assert_allclose(points.max(axis=0), high, atol=0.05)
    assert points.dtype == np.float32
    assert (colors == 102).all()
    assert warnings == []


def test_geometries_stay_separate_and_are_placed(tmp_path):
    scene = trimesh.Scene()
    for index in range(3):
        move = trimesh.transformations.translation_matrix([10 * index, 0, 0])
        scene.add_geometry(box(), transform=move)
    scene.export(tmp_path / "three.glb")
    asset = load_asset(tmp_path / "three.glb", "y")
    assert sorted(part.triangles[..., 0].min() for part in asset.parts) == [0, 10, 20]


def test_vertex_and_face_colors_of_ply_are_srgb_as_they_are(tmp_path):
    mesh = box()
    mesh.visual.vertex_colors = np.tile([10, 20, 30, 255], (len(mesh.vertices), 1))
    mesh.export(tmp_path / "vertex.ply")
    assert np.unique(sampled(tmp_path / "vertex.ply")[1], axis=0).tolist() == [[10, 20, 30]]
    mesh = box()
    mesh.visual.face_colors = np.tile([40, 50, 60, 255], (len(mesh.faces), 1))
    mesh.export(tmp_path / "face.ply")
    assert np.unique(sampled(tmp_path / "face.ply")[1], axis=0).tolist() == [[40, 50, 60]]


OBJ = """\
mtllib my box.mtl
v 0 0 0
v 1 0 0
v 0 1 0
v 0 0 1
vt 0.25 0.75
usemtl painted
f 1/1 2/1 3/1
usemtl plain
f 1/1 2/1 4/1
"""
MTL = """\
newmtl painted
Kd 1 1 1
map_Kd -s 1 1 1 my paint.png
newmtl plain
Kd 0.2 0.4 0.6
"""


def write_obj(folder, mtl=MTL, texture=True):
    (folder / "a.obj").write_text(OBJ)
    if mtl is not None:
        (folder / "my box.mtl").write_text(mtl)
    if texture:
        pixels = np.uint8([[[9, 8, 7], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]])
        Image.fromarray(pixels).save(folder / "my paint.png")
    return folder / "a.obj"


def part_colors(asset):
    """The one colour of each part, sorted."""
    found = []
    for part in asset.parts:
        alone = type(asset)(parts=(part,))
        colors = np.unique(sample_points(alone, 50, np.random.default_rng(0))[1], axis=0)
        assert len(colors) == 1
        found.append(colors[0].tolist())
    return sorted(found)


def test_obj_materials_textures_and_names_with_spaces(tmp_path):
    asset = load_asset(write_obj(tmp_path), "y")
    # v counts from the bottom row: (0.25, 0.75) is the upper left texel. Kd is sRGB: 0.2 * 255.
    assert part_colors(asset) == [[9, 8, 7], [51, 102, 153]]
    assert asset.warnings == []


def test_obj_kd_multiplies_the_texture_unless_black(tmp_path):
    black = MTL.replace("Kd 1 1 1", "Kd 0 0 0")
    assert [9, 8, 7] in part_colors(load_asset(write_obj(tmp_path, black), "y"))
    red = MTL.replace("Kd 1 1 1", "Kd 1 0 0")
    assert [9, 0, 0] in part_colors(load_asset(write_obj(tmp_path, red), "y"))


def test_obj_without_its_texture_is_grey_there_with_a_warning(tmp_path):
    asset = load_asset(write_obj(tmp_path, texture=False), "y")
    assert part_colors(asset) == [[51, 102, 153], [102, 102, 102]]
    assert len(asset.warnings) == 1
    assert "'painted'" in asset.warnings[0]


def test_obj_without_its_material_library_is_grey_with_a_warning(tmp_path):
    asset = load_asset(write_obj(tmp_path, mtl=None), "y")
    assert {tuple(color) for color in part_colors(asset)} == {(102, 102, 102)}
    assert "my box.mtl" in asset.warnings[0]


@pytest.mark.parametrize(
    "line", ["mtllib a.mtl b.mtl", "mtllib\ta.mtl\tb.mtl", "mtllib  b.mtl a.mtl"]
)
def test_obj_with_two_material_libraries(tmp_path, line):
    (tmp_path / "a.obj").write_text(
        f"{line}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nusemtl red\nf 1 2 3\nusemtl\tblue\nf\t1 2 4\n"
    )
    (tmp_path / "a.mtl").write_text("newmtl red\nKd 1 0 0\n")
    (tmp_path / "b.mtl").write_text("newmtl\tblue\nKd\t0 0 1\n")
    asset = load_asset(tmp_path / "a.obj", "y")
    assert part_colors(asset) == [[0, 0, 255], [255, 0, 0]]
    assert asset.warnings == []
    (tmp_path / "b.mtl").unlink()
    asset = load_asset(tmp_path / "a.obj", "y")
    assert part_colors(asset) == [[102, 102, 102], [255, 0, 0]]
    (warning,) = asset.warnings
    assert "'b.mtl', which is missing" in warning


def test_ply_with_an_unreadable_texture(tmp_path):
    (tmp_path / "a.ply").write_text(
        "ply\nformat ascii 1.0\ncomment TextureFile lost.png\nelement vertex 3\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property float s\nproperty float t\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
        "0 0 0 0 0\n1 0 0 0 0\n0 1 0 0 0\n3 0 1 2\n"
    )
    asset = load_asset(tmp_path / "a.ply", "y")
    assert part_colors(asset) == [[102, 102, 102]]
    assert "lost.png" in asset.warnings[0]
    Image.new("RGB", (2, 2), (5, 6, 7)).save(tmp_path / "lost.png")
    assert part_colors(load_asset(tmp_path / "a.ply", "y")) == [[5, 6, 7]]


POINTS = np.float32([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
COLORS = np.uint8([[0, 128, 255], [1, 2, 3], [4, 5, 6]])


def test_ply_clouds(tmp_path):
    trimesh.PointCloud(POINTS, colors=COLORS).export(tmp_path / "a.ply")
    cloud = load_asset(tmp_path / "a.ply", "z").cloud
    np.testing.assert_array_equal(cloud.points, [[0, 2, -1], [3, 5, -4], [6, 8, -7]])
    np.testing.assert_array_equal(cloud.colors, COLORS)


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("xyz.npy", POINTS),
        ("six_float.npy", np.hstack([POINTS, COLORS / 255.0])),
        ("six_bytes.npy", np.hstack([POINTS, COLORS]).astype(np.float32)),
        ("points.npz", {"points": POINTS, "colors": COLORS}),
        ("xyz.npz", {"xyz": POINTS, "rgb": (COLORS / 255.0).astype(np.float32)}),
    ],
)
def test_numpy_clouds(tmp_path, name, arrays):
    if isinstance(arrays, dict):
        np.savez(tmp_path / name, **arrays)
    else:
        np.save(tmp_path / name, arrays)
    cloud = load_asset(tmp_path / name, "y").cloud
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_array_equal(cloud.colors, 102 if name == "xyz.npy" else COLORS)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"other": POINTS}, r"holds \['other'\]"),
        ({"points": POINTS[:, :2]}, r"shape \(3, 2\)"),
        ({"points": POINTS, "colors": COLORS[:2]}, r"colours have shape \(2, 3\)"),
        ({"points": POINTS, "colors": COLORS.astype(np.float32) * 2}, "colours must be"),
        ({"points": np.zeros((0, 3))}, "neither faces nor points"),
        ({"points": POINTS * np.float32(np.nan)}, "NaN"),
        ({"points": np.array([{}] * 3)}, "pickle"),
    ],
)
def test_numpy_clouds_that_are_wrong(tmp_path, arrays, reason):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(AssetError, match=reason):
        load_asset(tmp_path / "a.npz", "y")


def test_missing_empty_and_unknown_files(tmp_path):
    with pytest.raises(AssetError, match=r"gone\.glb: no such file; correct the path"):
        load_asset(tmp_path / "gone.glb", "y")
    (tmp_path / "a.glb").touch()
    with pytest.raises(AssetError, match=r"a\.glb: the file is empty"):
        load_asset(tmp_path / "a.glb", "y")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(AssetError, match=r"unknown file type '\.txt'.*\.glb"):
        load_asset(tmp_path / "a.txt", "y")


@pytest.mark.parametrize("suffix", ["glb", "gltf", "obj", "ply", "off", "stl", "npy", "npz"])
def test_a_file_that_is_no_mesh(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"this is a text, whatever its name says\n" * 20)
    with pytest.raises(AssetError, match=r"a\." + suffix):
        load_asset(path, "y")


@pytest.mark.parametrize("suffix", ["glb", "ply", "off", "stl"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    trimesh.creation.icosphere(subdivisions=2).export(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(AssetError, match=r"a\." + suffix):
        load_asset(path, "y")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_truncated_text_stl(tmp_path, share):
    path = tmp_path / "a.stl"
    text = trimesh.creation.icosphere(subdivisions=2).export(file_type="stl_ascii")
    path.write_text(text)
    load_asset(path, "y")
    path.write_text(text[: int(len(text) * share)])
    with pytest.raises(AssetError, match=r"a\.stl"):
        load_asset(path, "y")


ASCII_PLY = (
    "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\n"
    "property float z\nelement face 2\nproperty list uchar int vertex_indices\nend_header\n"
    "0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n"
)


@pytest.mark.parametrize("kept", ["3 0 1 2\n3 0 1", "3 0 1 2\n3", "3 0 1 2\n", "", "0 0"])
def test_a_truncated_text_ply(tmp_path, kept):
    path = tmp_path / "a.ply"
    path.write_text(ASCII_PLY)
    assert load_asset(path, "y").parts[0].triangles.shape == (2, 3, 3)
    whole, faces = ASCII_PLY.split("3 0 1 2\n")
    path.write_text((whole if faces else ASCII_PLY) + kept)
    with pytest.raises(AssetError, match=r"a\.ply: truncated.*(lines are there|is incomplete)"):
        load_asset(path, "y")


def test_a_truncated_text_cloud_and_a_truncated_binary_one(tmp_path):
    header = ASCII_PLY.partition("element face")[0] + "end_header\n"
    path = tmp_path / "a.ply"
    path.write_text(header + "0 0 0\n1 0 0\n0 1 0\n0 0 1\n")
    assert len(load_asset(path, "y").cloud.points) == 4
    for rest in ("0 0 0\n1 0 0\n0 1 0\n", "0 0 0\n1 0 0\n0 1 0\n0 0"):
        path.write_text(header + rest)
        with pytest.raises(AssetError, match=r"a\.ply: truncated"):
            load_asset(path, "y")
    trimesh.PointCloud(POINTS, colors=COLORS).export(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(AssetError, match=r"a\.ply: truncated"):
        load_asset(path, "y")


@pytest.mark.parametrize(
    "last",
    ["f 1/1 2/1", "f 1/1", "f", "f 1/1 2/1 3/", "f 1/1 2/1 3", "v 1 2", "v"],
)
def test_an_obj_whose_last_line_is_cut(tmp_path, last):
    path = tmp_path / "a.obj"
    whole = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n"
    path.write_text(whole + "f 1/1 \\\n2/1 3/1\n# end")
    assert load_asset(path, "y").parts[0].triangles.shape == (2, 3, 3)
    path.write_text(whole + last)
    with pytest.raises(AssetError, match=r"a\.obj: truncated.*its last (face|vertex)"):
        load_asset(path, "y")


def test_an_obj_cut_before_its_faces(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    with pytest.raises(AssetError, match="neither faces nor points"):
        load_asset(tmp_path / "a.obj", "y")


def test_an_obj_whose_faces_lack_vertices(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n")
    with pytest.raises(AssetError, match=r"a\.obj"):
        load_asset(tmp_path / "a.obj", "y")


def test_a_mesh_without_area(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\n")
    with pytest.raises(AssetError, match="no area"):
        load_asset(tmp_path / "a.obj", "y")


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_vertices_that_are_not_finite(tmp_path, value):
    (tmp_path / "a.off").write_text(f"OFF\n3 1 0\n0 0 0\n1 0 {value}\n0 1 0\n3 0 1 2\n")
    with pytest.raises(AssetError, match="NaN or infinite"):
        load_asset(tmp_path / "a.off", "y")


def test_the_off_files_of_modelnet_lack_a_line_break(tmp_path):
    (tmp_path / "a.off").write_text("OFF3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    assert load_asset(tmp_path / "a.off", "y").parts[0].triangles.shape == (1, 3, 3)


SQUARE = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# made by hand\n\nOFF # here\n4 1 0\n# corners\n" + SQUARE + "4 0 1 2 3\n", [102] * 3),
        ("OFF 4 1 0\n" + SQUARE + "4 0 1 2 3 10 20 30\n", [10, 20, 30]),
        ("OFF\n4 1 0\n" + SQUARE + "4 0 1 2 3 0.2 0.4 1.0 1.0\n", [51, 102, 255]),
        ("OFF\n4 1 0\n" + SQUARE + "4 0 1 2 3 7\n", [102] * 3),  # a number in a palette
        ("COFF\n4 1 0\n" + SQUARE.replace("\n", " 10 20 30 255\n") + "4 0 1 2 3\n", [10, 20, 30]),
        ("COFF\n4 1 0\n" + SQUARE.replace("\n", " 0.2 0.4 1 1\n") + "4 0 1 2 3\n", [51, 102, 255]),
        ("CNOFF\n4 1 0\n" + SQUARE.replace("\n", " 0 0 1 9 8 7 255\n") + "4 0 1 2 3\n", [9, 8, 7]),
        ("NOFF\n4 1 0\n" + SQUARE.replace("\n", " 0 0 1\n") + "4 0 1 2 3\n", [102] * 3),
    ],
)
def test_off_files_with_comments_and_colors(tmp_path, text, expected):
    (tmp_path / "a.off").write_text(text)
    asset = load_asset(tmp_path / "a.off", "y")
    assert asset.parts[0].triangles.shape == (2, 3, 3)
    assert part_colors(asset) == [expected]


def test_off_faces_without_a_color_among_colored_ones_are_grey(tmp_path):
    text = "OFF\n4 2 0\n" + SQUARE + "3 0 1 2 255 0 0\n3 0 2 3\n"
    (tmp_path / "a.off").write_text(text)
    colors = np.unique(sampled(tmp_path / "a.off")[1], axis=0)
    assert colors.tolist() == [[102, 102, 102], [255, 0, 0]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("OFF BINARY\n...", "binary or empty"),
        ("OFF\n", "binary or empty"),
        ("4OFF\n4 1 0\n", "does not begin with 'OFF'"),
        ("OFF\n4 1 0\n" + SQUARE + "4 0 1 2 4\n", "vertex that is not there"),
        ("OFF\n4 1 0\n" + SQUARE + "4 0 1 2\n", "last face is incomplete"),
        ("COFF\n4 1 0\n" + SQUARE + "4 0 1 2 3\n", "truncated"),
    ],
)
def test_off_files_that_are_wrong(tmp_path, text, reason):
    (tmp_path / "a.off").write_text(text)
    with pytest.raises(AssetError, match=rf"a\.off: .*{reason}"):
        load_asset(tmp_path / "a.off", "y")


def test_an_unknown_up_axis(tmp_path):
    with pytest.raises(AssetError, match="'y' or 'z'"):
        load_asset(tmp_path / "a.glb", "x")
