import io
import json

import numpy as np
import pytest
from PIL import Image

from mixcon3d_jax.assets import AssetError, load_asset, sample_points
from tests.assets.gltf_files import TRIANGLE, make_gltf, png_bytes, png_uri, textured, write_glb


def colors_of(path, count=200):
    return sample_points(load_asset(path, "y"), count, np.random.default_rng(0))[1]


def only_color(path):
    colors = np.unique(colors_of(path), axis=0)
    assert len(colors) == 1
    return colors[0].tolist()


def test_base_color_factor_is_linear_and_becomes_srgb(tmp_path):
    material = {"pbrMetallicRoughness": {"baseColorFactor": [0.5, 0.0, 0.002, 1]}}
    tree, data = make_gltf({"POSITION": TRIANGLE}, primitive={"material": 0}, materials=[material])
    # By the sRGB curve: 0.5 -> 1.055 * 0.5 ** (1 / 2.4) - 0.055 = 0.7354; 0.002 -> 12.92 * 0.002.
    assert only_color(write_glb(tmp_path / "a.glb", tree, data)) == [188, 0, 7]


def test_vertex_colors_are_linear_too(tmp_path):
    color = np.full((3, 4), 0.5, np.float32)
    tree, data = make_gltf({"POSITION": TRIANGLE, "COLOR_0": color})
    assert only_color(write_glb(tmp_path / "a.glb", tree, data)) == [188, 188, 188]


@pytest.mark.parametrize(("dtype", "full"), [(np.uint8, 255), (np.uint16, 65535)])
def test_integer_vertex_colors_are_shares_of_their_range(tmp_path, dtype, full):
    color = np.tile(np.array([[full, 0, full, full]], dtype), (3, 1))
    tree, data = make_gltf({"POSITION": TRIANGLE, "COLOR_0": color}, normalized=("COLOR_0",))
    assert only_color(write_glb(tmp_path / "a.glb", tree, data)) == [255, 0, 255]


def test_no_material_and_no_color_is_grey(tmp_path):
    tree, data = make_gltf({"POSITION": TRIANGLE})
    assert only_color(write_glb(tmp_path / "a.glb", tree, data)) == [102, 102, 102]


def test_a_texture_is_srgb_and_multiplied_by_its_factor(tmp_path):
    uv = np.zeros((3, 2), np.float32)
    attributes = {"POSITION": TRIANGLE, "TEXCOORD_0": uv}
    uri = png_uri([[[40, 200, 90]]])
    tree, data = make_gltf(attributes, primitive={"material": 0}, **textured(uri))
    assert only_color(write_glb(tmp_path / "a.glb", tree, data)) == [40, 200, 90]
    tree, data = make_gltf(
        attributes, primitive={"material": 0}, **textured(uri, factor=[1, 0.0, 1, 1])
    )
    assert only_color(write_glb(tmp_path / "b.glb", tree, data)) == [40, 0, 90]


TWO_BY_TWO = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]]
RED, GREEN, BLUE = [255, 0, 0], [0, 255, 0], [0, 0, 255]


@pytest.mark.parametrize(
    ("uv", "sampler", "transform", "expected"),
    [
        ((0.25, 0.25), {}, None, RED),  # v = 0 is the top row
        ((0.75, 0.25), {}, None, GREEN),
        ((0.25, 0.75), {}, None, BLUE),
        ((1.75, -0.75), {}, None, GREEN),  # repeats
        ((1.25, 0.25), {"wrapS": 33648}, None, GREEN),  # mirrored
        ((-3.0, 0.25), {"wrapS": 33071}, None, RED),  # clamped
        ((0.25, 0.25), {}, {"offset": [0.5, 0.0]}, GREEN),
        ((0.5, 0.5), {}, {"scale": [0.5, 1.5]}, BLUE),
        ((-0.25, 0.75), {}, {"rotation": np.pi / 2}, GREEN),  # (u, v) -> (v, -u)
    ],
)
def test_texture_coordinates(tmp_path, uv, sampler, transform, expected):
    attributes = {"POSITION": TRIANGLE, "TEXCOORD_0": np.tile(np.float32([uv]), (3, 1))}
    material = textured(png_uri(TWO_BY_TWO), sampler=sampler, transform=transform)
    tree, data = make_gltf(attributes, primitive={"material": 0}, **material)
    assert only_color(write_glb(tmp_path / "a.glb", tree, data)) == expected


def test_node_transforms_multiply_down_the_tree(tmp_path):
    turn = np.sqrt(0.5)  # a quarter turn about z: x -> y
    nodes = [
        {"children": [1], "translation": [10, 0, 0]},
        {"mesh": 0, "rotation": [0, 0, turn, turn], "scale": [2, 3, 1]},
    ]
    tree, data = make_gltf({"POSITION": TRIANGLE}, nodes=nodes, scenes=[{"nodes": [0]}], scene=0)
    asset = load_asset(write_glb(tmp_path / "a.glb", tree, data), "y")
    expected = [[10, 0, 0], [10, 2, 0], [7, 0, 0]]
    np.testing.assert_allclose(asset.parts[0].triangles[0], expected, atol=1e-5)


def test_a_matrix_is_column_major(tmp_path):
    matrix = np.eye(4)
    matrix[:3, 3] = (1, 2, 3)
    nodes = [{"mesh": 0, "matrix": matrix.T.ravel().tolist()}]
    tree, data = make_gltf({"POSITION": TRIANGLE}, nodes=nodes)
    asset = load_asset(write_glb(tmp_path / "a.glb", tree, data), "y")
    np.testing.assert_allclose(asset.parts[0].triangles[0], TRIANGLE + np.array([1, 2, 3]))


def test_one_mesh_in_two_nodes_is_there_twice(tmp_path):
    nodes = [{"mesh": 0}, {"mesh": 0, "translation": [5, 0, 0]}]
    tree, data = make_gltf({"POSITION": TRIANGLE}, nodes=nodes)
    assert len(load_asset(write_glb(tmp_path / "a.glb", tree, data), "y").parts) == 2


def test_a_skinned_mesh_is_where_its_joints_are_and_not_where_its_node_is(tmp_path):
    # Corner 0 hangs on joint 0, corner 1 on joint 1, corner 2 on both alike.
    joints = np.array([[0, 1, 0, 0]] * 3, np.uint8)
    weights = np.float32([[1, 0, 0, 0], [0, 1, 0, 0], [0.5, 0.5, 0, 0]])
    bind = np.stack([np.eye(4), np.eye(4)])
    bind[1, :3, 3] = (-1, 0, 0)
    nodes = [
        {"children": [1, 2]},
        {"mesh": 0, "skin": 0, "translation": [50, 50, 50]},
        {"translation": [0, 0, 2], "children": [3]},
        {"translation": [4, 0, 0], "scale": [3, 3, 3]},
    ]
    tree, data = make_gltf(
        {"POSITION": TRIANGLE, "JOINTS_0": joints, "WEIGHTS_0": weights},
        nodes=nodes,
        scenes=[{"nodes": [0]}],
    )
    matrices = bind.transpose(0, 2, 1).astype(np.float32).tobytes()
    view = {"buffer": 0, "byteOffset": len(data), "byteLength": len(matrices)}
    tree["bufferViews"].append(view)
    accessor = {"bufferView": len(tree["bufferViews"]) - 1, "componentType": 5126, "count": 2}
    tree["accessors"].append(accessor | {"type": "MAT4"})
    tree["skins"] = [{"joints": [2, 3], "inverseBindMatrices": len(tree["accessors"]) - 1}]
    asset = load_asset(write_glb(tmp_path / "a.glb", tree, data + matrices), "y")
    # Joint 0 moves by (0, 0, 2); joint 1 takes x to 3 (x - 1) + 4, and so on, and z to 3 z + 2.
    expected = [[0, 0, 2], [4, 0, 2], [0.5 * 0 + 0.5 * 1, 0.5 * 1 + 0.5 * 3, 2]]
    np.testing.assert_allclose(asset.parts[0].triangles[0], expected, atol=1e-6)


def test_a_node_with_two_parents_is_refused(tmp_path):
    nodes = [{"children": [2]}, {"children": [2]}, {"mesh": 0}]
    tree, data = make_gltf({"POSITION": TRIANGLE}, nodes=nodes)
    with pytest.raises(AssetError, match="two parents"):
        load_asset(write_glb(tmp_path / "a.glb", tree, data), "y")


def test_nodes_in_a_cycle_are_refused(tmp_path):
    nodes = [{"mesh": 0, "children": [1]}, {"children": [0]}]
    tree, data = make_gltf({"POSITION": TRIANGLE}, nodes=nodes, scenes=[{"nodes": [0]}])
    with pytest.raises(AssetError, match="cycle"):
        load_asset(write_glb(tmp_path / "a.glb", tree, data), "y")


def test_normalized_positions_and_texture_coordinates(tmp_path):
    positions = (TRIANGLE * 32767).astype(np.int16)
    positions = np.concatenate([positions, np.zeros((3, 1), np.int16)], axis=1)[:, :3].copy()
    uv = np.full((3, 2), 49151, np.uint16)  # 0.75: the white texel
    tree, data = make_gltf(
        {"POSITION": positions, "TEXCOORD_0": uv},
        primitive={"material": 0},
        normalized=("POSITION", "TEXCOORD_0"),
        **textured(png_uri(TWO_BY_TWO)),
    )
    path = write_glb(tmp_path / "a.glb", tree, data)
    np.testing.assert_allclose(load_asset(path, "y").parts[0].triangles[0], TRIANGLE)
    assert only_color(path) == [255, 255, 255]


@pytest.mark.parametrize(("mode", "faces"), [(5, 2), (6, 2), (4, 1)])
def test_strips_and_fans(tmp_path, mode, faces):
    square = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    indices = np.arange(4, dtype=np.uint16)
    tree, data = make_gltf({"POSITION": square, "indices": indices}, primitive={"mode": mode})
    asset = load_asset(write_glb(tmp_path / "a.glb", tree, data), "y")
    assert asset.parts[0].triangles.shape == (faces, 3, 3)


def test_interleaved_and_sparse_accessors(tmp_path):
    tree, data = make_gltf({"POSITION": np.hstack([TRIANGLE, TRIANGLE + 7]).reshape(6, 3)})
    tree["bufferViews"][0]["byteStride"] = 24
    tree["accessors"][0]["count"] = 3
    tail = np.uint8([2, 0, 0, 0]).tobytes() + np.float32([0, 9, 0]).tobytes()
    tree["bufferViews"] += [
        {"buffer": 0, "byteOffset": len(data), "byteLength": 4},
        {"buffer": 0, "byteOffset": len(data) + 4, "byteLength": 12},
    ]
    tree["accessors"][0]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": 1, "componentType": 5121},
        "values": {"bufferView": 2},
    }
    asset = load_asset(write_glb(tmp_path / "a.glb", tree, data + tail), "y")
    expected = TRIANGLE.copy()
    expected[2, 1] = 9
    np.testing.assert_allclose(asset.parts[0].triangles[0], expected)


def test_points_become_a_cloud(tmp_path):
    tree, data = make_gltf({"POSITION": TRIANGLE}, primitive={"mode": 0})
    cloud = load_asset(write_glb(tmp_path / "a.glb", tree, data), "y").cloud
    np.testing.assert_array_equal(cloud.points, TRIANGLE)
    assert (cloud.colors == 102).all()


def test_external_buffer_and_texture(tmp_path):
    uv = np.zeros((3, 2), np.float32)
    tree, data = make_gltf(
        {"POSITION": TRIANGLE, "TEXCOORD_0": uv},
        primitive={"material": 0},
        **textured("my%20textures/a.png"),
    )
    tree["buffers"][0]["uri"] = "a.bin"
    (tmp_path / "a.gltf").write_text(json.dumps(tree))
    (tmp_path / "a.bin").write_bytes(data)
    (tmp_path / "my textures").mkdir()
    (tmp_path / "my textures" / "a.png").write_bytes(png_bytes([[[1, 2, 3]]]))
    asset = load_asset(tmp_path / "a.gltf", "y")
    assert only_color(tmp_path / "a.gltf") == [1, 2, 3]
    assert {tmp_path / "a.bin", tmp_path / "my textures" / "a.png"} <= set(asset.companions)

    (tmp_path / "a.bin").unlink()
    with pytest.raises(AssetError, match=r"refers to 'a\.bin', which is missing"):
        load_asset(tmp_path / "a.gltf", "y")


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\nrest is missing"])
def test_an_unreadable_texture_is_grey_with_a_warning(tmp_path, content):
    attributes = {"POSITION": TRIANGLE, "TEXCOORD_0": np.zeros((3, 2), np.float32)}
    tree, data = make_gltf(attributes, primitive={"material": 0}, **textured("lost.png"))
    path = write_glb(tmp_path / "a.glb", tree, data)
    if content is not None:
        (tmp_path / "lost.png").write_bytes(content)
    (warning,) = load_asset(path, "y").warnings
    assert "'paint'" in warning
    assert "grey" in warning
    assert only_color(path) == [102, 102, 102]


@pytest.mark.parametrize(
    ("alpha", "seen"),
    [({}, 2), ({"alphaMode": "MASK"}, 1), ({"alphaMode": "MASK", "alphaCutoff": 0.1}, 2),
     ({"alphaMode": "BLEND"}, 1)],
)  # fmt: skip
def test_textures_cut_out_what_their_material_says(tmp_path, alpha, seen):
    attributes = {"POSITION": TRIANGLE, "TEXCOORD_0": TRIANGLE[:, :2].copy()}
    material = textured(png_uri([[[255, 0, 0, 255], [0, 0, 255, 100]]]))
    material["materials"][0] |= alpha
    tree, data = make_gltf(attributes, primitive={"material": 0}, **material)
    path = write_glb(tmp_path / "a.glb", tree, data)
    assert len(np.unique(colors_of(path), axis=0)) == seen


@pytest.mark.parametrize(
    ("alpha", "mode", "seen"),
    [(0, "OPAQUE", 2), (0, "BLEND", 1), (0.01, "BLEND", 2), (0.4, "MASK", 1), (0.6, "MASK", 2)],
)
def test_what_is_fully_transparent_is_left_out(tmp_path, alpha, mode, seen):
    glass = {"pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, alpha]}, "alphaMode": mode}
    tree, data = make_gltf({"POSITION": TRIANGLE}, materials=[glass])
    (primitive,) = tree["meshes"][0]["primitives"]
    tree["meshes"][0]["primitives"].append(primitive | {"material": 0})
    asset = load_asset(write_glb(tmp_path / "a.glb", tree, data), "y")
    assert len(asset.parts) == seen
    assert asset.warnings == []


def test_an_asset_that_is_transparent_as_a_whole_is_taken_as_if_it_were_not(tmp_path):
    glass = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 0]}, "alphaMode": "BLEND"}
    tree, data = make_gltf({"POSITION": TRIANGLE}, primitive={"material": 0}, materials=[glass])
    path = write_glb(tmp_path / "a.glb", tree, data)
    assert only_color(path) == [255, 0, 0]
    assert "fully transparent" in load_asset(path, "y").warnings[0]


def test_a_masked_texture_is_as_opaque_as_it_and_its_factor(tmp_path):
    attributes = {"POSITION": TRIANGLE, "TEXCOORD_0": TRIANGLE[:, :2].copy()}
    # Opacities 1 and 0.78; times 0.6 they are 0.6 and 0.47.
    material = textured(png_uri([[[255, 0, 0, 255], [0, 0, 255, 200]]]), factor=[1, 1, 1, 0.6])
    material["materials"][0]["alphaMode"] = "MASK"
    tree, data = make_gltf(attributes, primitive={"material": 0}, **material)
    assert only_color(write_glb(tmp_path / "a.glb", tree, data)) == [255, 0, 0]


def test_a_grey_texture_of_16_bits_keeps_its_greys(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.full((2, 2), 100 * 257, np.uint16)).save(buffer, "PNG")
    (tmp_path / "grey.png").write_bytes(buffer.getvalue())
    attributes = {"POSITION": TRIANGLE, "TEXCOORD_0": TRIANGLE[:, :2].copy()}
    tree, data = make_gltf(attributes, primitive={"material": 0}, **textured("grey.png"))
    assert only_color(write_glb(tmp_path / "a.glb", tree, data)) == [100, 100, 100]


@pytest.mark.parametrize("name", ["{outside}/a.bin", "../../outside/a.bin", "../../../etc/hosts"])
def test_buffers_outside_the_collection_are_not_read(tmp_path, name):
    folder = tmp_path / "collection" / "models"
    (tmp_path / "outside").mkdir()
    folder.mkdir(parents=True)
    tree, data = make_gltf({"POSITION": TRIANGLE})
    (tmp_path / "outside" / "a.bin").write_bytes(data)
    tree["buffers"][0]["uri"] = name.format(outside=tmp_path / "outside")
    (folder / "a.gltf").write_text(json.dumps(tree))
    with pytest.raises(AssetError, match=r"which lies outside .*collection; put that file beside"):
        load_asset(folder / "a.gltf", "y")


def test_files_in_a_folder_beside_the_assets_are_read(tmp_path):
    for name in ("models", "buffers"):
        (tmp_path / name).mkdir()
    tree, data = make_gltf({"POSITION": TRIANGLE})
    tree["buffers"][0]["uri"] = "../buffers/a.bin"
    (tmp_path / "buffers" / "a.bin").write_bytes(data)
    path = tmp_path / "models" / "a.gltf"
    path.write_text(json.dumps(tree))
    assert len(load_asset(path, "y").parts) == 1
    assert len(load_asset(path, "y", tmp_path).parts) == 1
    with pytest.raises(AssetError, match="lies outside"):
        load_asset(path, "y", tmp_path / "models")


def test_a_texture_whose_name_no_file_can_have_is_grey(tmp_path):
    attributes = {"POSITION": TRIANGLE, "TEXCOORD_0": TRIANGLE[:, :2].copy()}
    tree, data = make_gltf(attributes, primitive={"material": 0}, **textured("x" * 5000))
    assert only_color(write_glb(tmp_path / "a.glb", tree, data)) == [102, 102, 102]


def test_compressed_geometry_is_refused(tmp_path):
    tree, data = make_gltf(
        {"POSITION": TRIANGLE}, extensionsRequired=["KHR_draco_mesh_compression"]
    )
    with pytest.raises(AssetError, match=r"KHR_draco_mesh_compression.*without compression"):
        load_asset(write_glb(tmp_path / "a.glb", tree, data), "y")


def test_every_truncation_of_a_glb_is_an_asset_error(tmp_path):
    tree, data = make_gltf({"POSITION": TRIANGLE})
    whole = write_glb(tmp_path / "a.glb", tree, data).read_bytes()
    for length in range(1, len(whole)):
        (tmp_path / "cut.glb").write_bytes(whole[:length])
        with pytest.raises(AssetError, match=r"cut\.glb"):
            load_asset(tmp_path / "cut.glb", "y")
