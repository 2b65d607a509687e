"""The encoder against the PyTorch mirror: names, sizes, outputs, gradients and first weights."""

import copy
import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

torch = pytest.importorskip("torch")

from mixcon3d_jax.exchange.pytorch_names import tree_from_pytorch  # noqa: E402
from mixcon3d_jax.models.grouping import (  # noqa: E402
    ball_query,
    farthest_point_sample,
    gather_points,
)
from mixcon3d_jax.models.mixcon3d import MixCon3D, MixCon3DConfig  # noqa: E402
from mixcon3d_jax.models.pointbert import SCALINGS  # noqa: E402
from mixcon3d_jax.models.variables import flatten, split_module  # noqa: E402
from tests.parity.make_reference import (  # noqa: E402
    expected_numbers,
    random_batches,
    random_model,
    torch_batch,
)
from tests.parity.pytorch_mirror import Mirror  # noqa: E402
from tests.parity.pytorch_training import load_weights  # noqa: E402
from tests.parity.side_by_side import assert_close, jax_model, jax_weights  # noqa: E402

SHARED = Path(__file__).resolve().parents[3] / "shared"
PARAMETERS = {
    1: 5_100_768,
    2: 13_346_880,
    3: 25_954_368,
    4: 32_326_080,
    5: 72_070_336,
    6: 171_262_144,
}
# Groups as in the scaling, everything else narrower.
REDUCED = {
    scaling: MixCon3DConfig(
        dataclasses.replace(
            SCALINGS[scaling],
            dim=40,
            depth=3,
            heads=3,
            mlp_dim=72,
            sa_dim=28,
            patches=SCALINGS[scaling].patches // 4,
        ),
        embedding_size=20,
    )
    for scaling in (3, 4)
}
TOLERANCE = 1e-5  # of outputs near 1, in float32


@pytest.fixture(scope="module", params=REDUCED, ids="scaling_{}".format)
def both(request):
    """A mirror with random weights, a batch, and the mirror's numbers for it."""
    model = random_model(REDUCED[request.param], seed=request.param)
    batches = random_batches(model.config, 1, rows=4, points=700, views=2, seed=5)
    batch = torch_batch(batches, 0)
    return model, batch, expected_numbers(model, batch)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_mirror_has_the_size_of_the_original(scaling):
    with torch.device("meta"):
        encoder = Mirror(MixCon3DConfig(SCALINGS[scaling], 1280)).encoder
    assert sum(parameter.numel() for parameter in encoder.parameters()) == PARAMETERS[scaling]
    table = SHARED / "facts" / "upstream_state_dict_shapes.json"
    if table.exists():
        names = {name: list(array.shape) for name, array in encoder.state_dict().items()}
        assert names == json.loads(table.read_text())[str(scaling)]


def test_the_mirror_gives_the_outputs_of_the_original():
    folder = SHARED / "golden" / "mixcon3d_tiny"
    if not folder.exists():
        pytest.skip(f"needs {folder}")
    dims = json.loads((folder / "config.json").read_text())["model"]
    size, dims["radius"], dims["neighbors"] = (dims.pop(key) for key in ("out", "prad", "nsamp"))
    config = dataclasses.replace(SCALINGS[1], **dims)
    model = Mirror(MixCon3DConfig(config, size))
    load_weights(model, dict(np.load(folder / "init.npz")))
    batch = torch_batch(dict(np.load(folder / "batches.npz")), 0)
    found = expected_numbers(model, batch)
    for name, array in np.load(folder / "expected.npz").items():
        if name != "trajectory":
            np.testing.assert_allclose(found[name], array, atol=TOLERANCE, err_msg=name)


def test_groups_are_the_same(both):
    model, batch, expected = both
    settings = model.config.encoder
    points = jnp.asarray(batch["xyz"].numpy())
    index = farthest_point_sample(points, settings.patches)
    np.testing.assert_array_equal(index, expected["fps_idx"])
    centers = gather_points(points, index)
    near = np.asarray(ball_query(points, centers, settings.radius, settings.neighbors))
    np.testing.assert_array_equal(near, expected["ball_idx"])
    distinct = {len(set(row)) for row in near.reshape(-1, settings.neighbors)}
    assert min(distinct) < settings.neighbors == max(distinct)  # some balls overflow, some do not


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_outputs_are_the_same(both, train):
    model, batch, expected = both
    found = jax_model(model).embed_points(
        jnp.asarray(batch["xyz"].numpy()), jnp.asarray(batch["rgb"].numpy()), train=train
    )
    name = "train_pc_feat" if train else "eval_pc_feat"
    np.testing.assert_allclose(found, expected[name], atol=TOLERANCE, rtol=TOLERANCE)


def test_running_statistics_after_one_batch_are_the_same(both):
    model, batch, _ = both
    ours, theirs = jax_model(model), copy.deepcopy(model)
    ours.embed_points(
        jnp.asarray(batch["xyz"].numpy()), jnp.asarray(batch["rgb"].numpy()), train=True
    )
    with torch.no_grad():
        theirs.train().encoder(batch["xyz"], batch["rgb"])
    found, expected = split_module(ours)[2], jax_weights(theirs)[2]
    assert_close(flatten(found), flatten(expected), relative=TOLERANCE)


def test_gradients_in_inference_mode_are_the_same(both):
    model, batch, _ = both
    structure, params, stats = jax_weights(model)
    points, colors = jnp.asarray(batch["xyz"].numpy()), jnp.asarray(batch["rgb"].numpy())

    def spread(params):
        ours = nnx.merge(structure, params, jax.tree.map(jnp.copy, stats))
        return ours.embed_points(points, colors).var()

    found = flatten(jax.jit(jax.grad(spread))(params)["encoder"])
    theirs = copy.deepcopy(model)
    theirs.eval().encoder(batch["xyz"], batch["rgb"]).var(correction=0).backward()
    expected = tree_from_pytorch(
        {f"state_dict/{name}": p.grad.numpy() for name, p in theirs.encoder.named_parameters()}
    )
    expected = {path.removeprefix("encoder/"): array for path, array in expected.items()}
    assert_close(found, expected, relative=1e-4)
    for path, array in found.items():  # with running statistics these are no rounding noise
        if "convs" in path and path.endswith("bias"):
            np.testing.assert_allclose(array, expected[path], rtol=1e-3, atol=1e-6)


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """The largest distance of two samples' distribution functions."""
    at = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(x), at, side="right") / x.size for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_first_weights_are_drawn_alike(head):
    encoder = dataclasses.replace(SCALINGS[1], depth=1, mlp_dim=320)
    config = MixCon3DConfig(encoder, 64, share_proj=False, head=head, view_pooling="avg_proj")
    torch.manual_seed(0)
    _, params, stats = jax_weights(Mirror(config))
    theirs = jax.tree.map(np.asarray, flatten(params) | flatten(stats))
    _, params, stats = split_module(MixCon3D(config, rngs=nnx.Rngs(1)))
    for path, array in (flatten(params) | flatten(stats)).items():
        ours, other = np.asarray(array).ravel(), theirs[path].ravel()
        if np.ptp(other) == 0:
            np.testing.assert_allclose(ours, other, rtol=1e-6, err_msg=path)
            continue
        # Exceeded by chance with probability 1e-6.
        limit = np.sqrt(np.log(2e6) / ours.size)
        assert kolmogorov_smirnov(ours, other) < limit, path
        if path != "encoder/cls_token":  # the one normal distribution; the others are bounded
            kernel = path.rsplit("/", 1)[0] + "/kernel"
            bound = theirs[kernel].shape[0] ** -0.5
            for sample in (ours, other):
                assert np.abs(sample).max() <= bound, path
                assert np.abs(sample).max() > bound * (1 - 14 / sample.size), path
