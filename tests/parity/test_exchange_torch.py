"""Files between PyTorch and this project: the original's checkpoints, and exports for it."""

import copy
import dataclasses
import functools
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

torch = pytest.importorskip("torch")

from ml_collections import ConfigDict  # noqa: E402

from mixcon3d_jax import losses  # noqa: E402
from mixcon3d_jax.errors import InputError  # noqa: E402
from mixcon3d_jax.exchange.file_contents import snapshot_of_file  # noqa: E402
from mixcon3d_jax.exchange.own_export import write_export  # noqa: E402
from mixcon3d_jax.exchange.pytorch_file import PyTorchFileError, read_pytorch_file  # noqa: E402
from mixcon3d_jax.exchange.pytorch_names import (  # noqa: E402
    WeightsError,
    array_from_pytorch,
    array_to_pytorch,
    from_pytorch,
    to_pytorch,
    tree_from_pytorch,
)
from mixcon3d_jax.exchange.runs import read_run  # noqa: E402
from mixcon3d_jax.exchange.snapshot import About  # noqa: E402
from mixcon3d_jax.exchange.train_state import fill_state, snapshot_of  # noqa: E402
from mixcon3d_jax.exchange.weights_file import read_weights  # noqa: E402
from mixcon3d_jax.models.mixcon3d import MixCon3D, MixCon3DConfig  # noqa: E402
from mixcon3d_jax.models.pointbert import SCALINGS  # noqa: E402
from mixcon3d_jax.models.variables import (  # noqa: E402
    flatten,
    model_structure,
    split_module,
    unflatten_like,
)
from mixcon3d_jax.sharding import batch_sharding, make_mesh  # noqa: E402
from mixcon3d_jax.training.optimizer import OptimizerConfig, make_optimizer  # noqa: E402
from mixcon3d_jax.training.run_config import model_config  # noqa: E402
from mixcon3d_jax.training.state import abstract_state, new_state  # noqa: E402
from mixcon3d_jax.training.step import StepConfig, compile_train_step  # noqa: E402
from tests.generated import small_config  # noqa: E402
from tests.parity.make_reference import random_batches, random_model, torch_batch  # noqa: E402
from tests.parity.pytorch_original import TRAINED, Original  # noqa: E402
from tests.parity.side_by_side import assert_close, jax_weights  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
OPTIMIZER = OptimizerConfig(1e-3, 1e-3, warmup_steps=0, total_steps=10)
HEADS = {
    "default": {},
    "own image projection": {"share_proj": False},
    "mlp heads and a layer behind the views": {"head": "mlp", "view_pooling": "max_proj"},
}


def config_of(**model):
    config = small_config(Path("nowhere"))
    for key, value in model.items():
        config.model[key] = value
    return config


@pytest.fixture(scope="module")
def batches():
    model = model_config(config_of())
    return random_batches(model, 4, rows=6, points=60, views=3, seed=8)


def jax_batch(batches, step):
    return {
        "points": batches["xyz"][step],
        "colors": batches["rgb"][step],
        "text_embedding": batches["text_feat"][step],
        "view_embeddings": batches["img_feat"][step],
        "has_text": np.ones(len(batches["xyz"][step]), bool),
    }


@functools.cache
def compiled_step(model):
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    abstract = abstract_state(model, make_optimizer(OPTIMIZER), mesh)
    config = StepConfig(model, OPTIMIZER, losses.Weights(), 0.8, None, seed=0)
    places = jax.tree.map(lambda leaf: leaf.sharding, abstract), batch_sharding(mesh)
    return compile_train_step(config, mesh, abstract), *places


def trained_here(state, model, batches, steps):
    """The state after further steps."""
    step, state_places, batch_places = compiled_step(model)
    # A copy: a step takes its memory back.
    state = jax.device_put(jax.tree.map(jnp.copy, state), state_places)
    for index in steps:
        state, _ = step(state, jax.device_put(jax_batch(batches, index), batch_places))
    return state


@pytest.fixture(scope="module", params=HEADS)
def run(request, batches):
    """A config, and a state after two steps, of which no two arrays are alike."""
    config = config_of(**HEADS[request.param])
    _, params, stats = jax_weights(random_model(model_config(config), seed=1))
    state = new_state(params, stats, make_optimizer(OPTIMIZER))
    return config, trained_here(state, model_config(config), batches, range(2))


def snapshot(config, state):
    about = About(config.to_dict(), config.clip.id, num_records=48)
    return snapshot_of(state, about)


def same_arrays(found, expected):
    assert found.keys() == expected.keys()
    for path, array in expected.items():
        np.testing.assert_array_equal(found[path], array, err_msg=path)


def theirs(groups):
    """`GROUP/NAME` -> array of modules there, as paths here."""
    return tree_from_pytorch(
        {
            f"{'state_dict' if group == 'encoder' else group}/{name}": tensor.detach().numpy()
            for group, module in groups.items()
            for name, tensor in module.state_dict().items()
        }
    )


def their_moments(original):
    """Path here -> moments, by the parameters' own identity there."""
    found = {}
    for group, module in original.model.named_children():
        for name, parameter in module.named_parameters():
            entry = original.optimizer.state.get(parameter)
            if entry:
                path = from_pytorch("state_dict" if group == "encoder" else group, name)
                found[path] = tuple(
                    array_from_pytorch(path, entry[key].numpy().copy())
                    for key in ("exp_avg", "exp_avg_sq")
                )
    return found


# --- exports, in the original's code


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_the_original_loads_an_export_whole(run, weights, tmp_path):
    config, state = run
    expected = snapshot(config, state)
    write_export(tmp_path / "a.pt", expected, weights)
    original = Original(random_model(model_config(config), seed=9))
    original.load(tmp_path / "a.pt")
    assert (original.step, original.epoch) == (2, 0)
    assert set(original.best.values()) == {0.0}

    model = model_config(config)
    used = {name: child for name, child in original.model.named_children()
            if name in ("encoder", *TRAINED)}  # fmt: skip
    if model.share_proj:  # then it is a copy, and never used
        for name, tensor in used.pop("image_proj").state_dict().items():
            assert torch.equal(tensor, original.model.text_proj.state_dict()[name])
    found = theirs(used)
    arrays = getattr(expected, weights)
    same_arrays(found, {path: arrays[path] for path in found})
    moments = their_moments(original)
    same_arrays(moments, {path: expected.moments[path] for path in moments})
    trained = {path for path in found if not path.endswith(("/mean", "/var"))}
    assert moments.keys() == trained
    counters = [t for n, t in original.model.encoder.state_dict().items() if "num_batches" in n]
    assert [int(counter) for counter in counters] == [2, 2, 2]


def test_an_export_has_what_the_original_never_saves(run, tmp_path):
    config, state = run
    expected = snapshot(config, state)
    write_export(tmp_path / "a.pt", expected, "raw")
    content = torch.load(tmp_path / "a.pt")
    for path in expected.raw:
        group, name = to_pytorch(path)
        np.testing.assert_array_equal(
            content[group][f"module.{name}"], array_to_pytorch(path, expected.raw[path])
        )
        np.testing.assert_array_equal(
            content[f"{group}_ema"][name], array_to_pytorch(path, expected.ema[path])
        )
    assert content["scheduler"] is None


def test_training_goes_on_there_as_here(run, batches, tmp_path):
    config, state = run
    model = model_config(config)
    write_export(tmp_path / "a.pt", snapshot(config, state), "raw")
    original = Original(random_model(model, seed=9))
    original.load(tmp_path / "a.pt")
    content = torch.load(tmp_path / "a.pt")
    for name, module in original.wrapped.items():  # those that the loader leaves alone
        if name not in ("encoder", *TRAINED) and name in content:
            module.load_state_dict(content[name])
    for group in original.optimizer.param_groups:
        assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.01)
        group["lr"] = OPTIMIZER.learning_rate
    original.update(torch_batch(batches, 2))

    after = trained_here(state, model, batches, [2])
    ours = jax.tree.map(np.asarray, flatten(after.params) | flatten(after.stats))
    unused = {"image_proj"} if model.share_proj else set()
    found = theirs({n: getattr(original.model, n) for n in ("encoder", *TRAINED)
                    if n not in unused})  # fmt: skip
    for path in found:
        if path.startswith("logit_scales/"):  # its training clamps them afterwards
            found[path] = np.clip(found[path], 0, np.log(np.float32(100)))
    assert_close({path: ours[path] for path in found}, found, relative=1e-4)


def test_the_learning_rate_is_that_of_the_schedule(tmp_path):
    config = config_of()
    config.optim.batch_size, config.optim.epochs, config.optim.warmup_epochs = 16, 4.0, 0.0
    config.optim.learning_rate, config.optim.min_learning_rate = 2e-3, 0.0
    state = new_state(*jax_weights(random_model(model_config(config), 1))[1:],
                      make_optimizer(OPTIMIZER)).replace(step=jnp.int32(6))  # fmt: skip
    write_export(tmp_path / "a.pt", snapshot(config, state), "raw")
    content = torch.load(tmp_path / "a.pt")
    # Half of 4 epochs of 3 steps: half of the cosine.
    assert content["optimizer"]["param_groups"][0]["lr"] == pytest.approx(1e-3)
    assert (content["step"], content["epoch"]) == (6, 2)


# --- exports, back here


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_an_export_comes_back_bit_for_bit(run, weights, tmp_path):
    config, state = run
    expected = snapshot(config, state)
    write_export(tmp_path / "a.pt", expected, weights)
    file = read_weights(tmp_path / "a.pt")
    read = snapshot_of_file(file, ConfigDict(file.about.config), None)
    assert (read.about, read.step) == (expected.about, 2)
    same_arrays(read.raw, expected.raw)
    same_arrays(read.ema, expected.ema)
    same_arrays(read.moments, expected.moments)
    assert any((expected.raw[path] != expected.ema[path]).any() for path in expected.raw)


# --- checkpoints of the original


@pytest.fixture(scope="module", params=HEADS)
def original(request, batches):
    """One after two steps of its own training."""
    model = random_model(model_config(config_of(**HEADS[request.param])), seed=3)
    with torch.no_grad():  # never saved, so they start again there
        for name in ("img_text_logit_scale", "pc_img_to_text_logit_scale"):
            getattr(model, name).logit_scale.fill_(np.log(np.float32(14.28)))
    original = Original(model)
    for step in range(2):
        original.update(torch_batch(batches, step))
    with torch.no_grad():
        model.img_text_logit_scale.logit_scale.fill_(np.log(np.float32(14.28)))
    original.epoch = 5
    return original


def imported(path, config=None, scaling=None):
    return snapshot_of_file(read_weights(path), config or config_of(), scaling)


def saved_groups(original):
    names = ["encoder", "text_proj", "pc_img_proj", "image_logit_scale", "text_logit_scale"]
    if not original.model.config.share_proj:
        names.append("image_proj")
    return {name: getattr(original.model, name) for name in names}


def test_a_checkpoint_of_the_original_comes_over(original, tmp_path):
    original.save(tmp_path / "a.pt")
    model = original.model.config
    found = imported(tmp_path / "a.pt", config_of(view_pooling=model.view_pooling))
    same_arrays(found.raw, theirs(saved_groups(original)))
    same_arrays(
        found.ema, theirs(saved_groups(original) | {"encoder": original.average})
    )  # the heads' EMA was never saved
    moments = their_moments(original)
    same_arrays(found.moments, moments)
    assert any(path.startswith("image_proj/") for path in moments) != model.share_proj
    assert found.about.config["model"]["share_proj"] == model.share_proj  # by its training
    assert found.about.config["model"]["head"] == model.head
    assert (found.step, found.about.epoch) == (2, 5)
    pooled = model.view_pooling.endswith("_proj")
    assert found.about.missing == (("multi_view_proj",) if pooled else ())


def test_training_goes_on_here_as_there(original, batches, tmp_path):
    model = original.model.config
    original.save(tmp_path / "a.pt")
    found = imported(tmp_path / "a.pt", config_of(view_pooling=model.view_pooling))
    if found.about.missing:  # never saved, so both would start again
        layer = theirs({"multi_view_proj": original.model.multi_view_proj})
        found = dataclasses.replace(found, raw=found.raw | layer)
    _, params, stats = split_module(MixCon3D(model, rngs=nnx.Rngs(0)))
    state = fill_state(new_state(params, stats, make_optimizer(OPTIMIZER)), found)
    after = trained_here(state, model, batches, [2])
    ours = jax.tree.map(np.asarray, flatten(after.params) | flatten(after.stats))
    there = copy.deepcopy(original)
    there.update(torch_batch(batches, 2))
    expected = theirs({n: m for n, m in there.model.used_groups().items()
                       if n in ("encoder", *TRAINED)})  # fmt: skip
    for path in expected:
        if path.startswith("logit_scales/"):
            expected[path] = np.clip(expected[path], 0, np.log(np.float32(100)))
    assert int(after.step) == 3
    assert_close({path: ours[path] for path in expected}, expected, relative=1e-4)


def test_openshape_has_no_heads(original, tmp_path):
    encoder = {f"module.{n}": t for n, t in original.model.encoder.state_dict().items()}
    path = tmp_path / "model.pt"
    torch.save({"state_dict": encoder, "text_proj": None, "image_proj": None,
                "logit_scale": {"module.logit_scale": torch.tensor(3.5)}}, path)  # fmt: skip
    found = imported(path)
    assert found.about.missing == ("fusion",)
    np.testing.assert_array_equal(found.raw["text_proj/kernel"], np.eye(16))
    np.testing.assert_array_equal(found.raw["text_proj/bias"], np.zeros(16))
    assert found.raw["logit_scales/point_text"] == found.raw["logit_scales/point_image"] == 3.5
    assert (found.step, found.moments) == (0, {})
    told = "\n".join(found.notes)
    assert "no projections" in told
    assert "no fusion head" in told


def test_scaling_3_gives_the_same_embeddings(tmp_path):
    """The whole way: a file, the command, a workdir, its embeddings."""
    model = random_model(MixCon3DConfig(SCALINGS[3], 1280), seed=0)
    average = random_model(MixCon3DConfig(SCALINGS[3], 1280), seed=1)
    original = Original(model)
    original.average = average.encoder
    original.save(tmp_path / "released.pt")
    done = run_command("import_torch", f"--input={tmp_path}/released.pt", f"--workdir={tmp_path}/w")
    assert done.returncode == 0, done.stderr
    assert "scaling 3" in done.stdout
    found = read_run(tmp_path / "w")

    batches = random_batches(model.config, 1, rows=2, points=500, views=2, seed=4)
    batch = torch_batch(batches, 0)
    structure, params, stats = model_structure(model.config)
    for arrays, mirror in ((found.raw, model), (found.ema, average)):
        ours = nnx.merge(structure, *(unflatten_like(tree, arrays) for tree in (params, stats)))
        mirror.encoder.eval(), model.eval()
        with torch.no_grad():
            point = mirror.encoder(batch["xyz"], batch["rgb"])
            image, text = model.embed_views(batch["img_feat"]), model.text_proj(batch["text_feat"])
            fused = model.pc_img_proj(torch.cat([point, image], -1))
        near = functools.partial(np.testing.assert_allclose, atol=1e-4, rtol=1e-4)
        near(ours.embed_points(batches["xyz"][0], batches["rgb"][0]), point)
        near(ours.embed_views(batches["img_feat"][0]), image)
        near(ours.embed_text(batches["text_feat"][0]), text)
        near(ours.fuse(jnp.asarray(point), jnp.asarray(image)), fused)


def run_command(name, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"mixcon3d_jax.{name}", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


# --- files that are refused


@pytest.fixture(scope="module")
def untrained():
    return Original(random_model(model_config(config_of()), seed=5))


def test_every_wrong_weight_is_listed(untrained, tmp_path):
    weights = untrained.wrapped["encoder"].state_dict()
    weights["module.ppat.extra"] = torch.zeros(3)
    del weights["module.ppat.lift.2.bias"], weights["module.ppat.cls_token"]
    weights["module.proj.weight"] = torch.zeros(16, 7)
    untrained.save(tmp_path / "a.pt", state_dict=weights, more={"w": torch.zeros(2)})
    with pytest.raises(WeightsError) as caught:
        imported(tmp_path / "a.pt")
    for named in (
        "a.pt",
        "no place for:\n  state_dict/ppat.extra\n  more/w\n",
        "missing:\n  state_dict/ppat.cls_token\n  state_dict/ppat.lift.2.bias\n",
        "another shape:\n  state_dict/proj.weight: (16, 7) where (16, 32) is expected",
    ):
        assert named in str(caught.value)


class Payload:
    """Calls something when a plain unpickler loads it."""

    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("new_format", [True, False])
def test_a_payload_is_refused_by_name_and_does_not_run(new_format, tmp_path):
    path, marker = tmp_path / "a.pt", tmp_path / "it_ran"
    content = {"state_dict": {"w": torch.zeros(2)}, "epoch": Payload(os.system, f"touch {marker}")}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    torch.load(path, weights_only=False)
    marker.unlink()  # it would run
    with pytest.raises(PyTorchFileError, match=r"a\.pt wants posix\.system to be called"):
        read_weights(path)
    assert not marker.exists()
    done = run_command("import_torch", f"--input={path}", f"--workdir={tmp_path}/w")
    assert done.returncode == 2
    assert "posix.system" in done.stderr
    assert "Traceback" not in done.stderr
    assert not marker.exists()
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    "value",
    [
        Payload(np.load, "somewhere"),
        Payload(np._core.multiarray.scalar, np.dtype("O"), b"x" * 8),
        Payload(np._core.multiarray.scalar, np.dtype([("a", "f4")]), b"x" * 4),
        np.zeros(3),
    ],
)
def test_nothing_of_numpy_but_numbers_gets_in(value, tmp_path):
    torch.save({"best_lvis_acc": value}, tmp_path / "a.pt")
    with pytest.raises(PyTorchFileError):
        read_pytorch_file(tmp_path / "a.pt")


def test_accuracies_may_be_numpy_numbers(tmp_path):
    numbers = [np.float64(0.25), np.float32(-3), np.int64(7), np.bool_(True), np.float16(2),
               np.dtype(">f8").type(5)]  # fmt: skip
    torch.save({"best_lvis_acc": numbers, "step": np.int32(9)}, tmp_path / "a.pt")
    assert read_pytorch_file(tmp_path / "a.pt") == {
        "best_lvis_acc": [0.25, -3, 7, True, 2, 5],
        "step": 9,
    }


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_named(untrained, kept, tmp_path):
    path = tmp_path / "a.pt"
    untrained.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    with pytest.raises(PyTorchFileError, match=r"a\.pt is no PyTorch checkpoint, or is damaged"):
        read_weights(path)


@pytest.mark.parametrize(
    "content", [b"hello", b"PK\x03\x04", b'{"state_dict": {}}', pickle.dumps({"a": 1}, 2)]
)
def test_other_files_are_named(content, tmp_path):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(PyTorchFileError, match=r"a\.pt is no PyTorch checkpoint"):
        read_weights(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(3), "holds a Tensor where a checkpoint is a dict"),
        ({"state_dict": {"w": torch.zeros(3).to_sparse()}}, "no plain array"),
        ({"state_dict": {"w": torch.zeros(3)}}, "no weights of a PointBERT"),
        ({"state_dict": None}, "no weights of a PointBERT"),
        ({}, "no weights of a PointBERT"),
        ({"state_dict": {"w": torch.zeros(3)}, "step": "many"}, "step is 'many'"),
        ({"state_dict": {"w": torch.zeros(3)}, "epoch": torch.zeros(2)}, "epoch is"),
        ({"state_dict": {"w": torch.zeros(3)}, "mixcon3d_jax": {"version": 99}}, "version 99"),
        ({"mixcon3d_jax": {"version": 1, "about": "{}"}}, "can't be read"),
        ({"mixcon3d_jax": 5}, "version None"),
    ],
)
def test_other_contents_are_named(content, message, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=message):
        imported(tmp_path / "a.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PyTorchFileError, match=r"a\.pt: there is no such file"):
        read_weights(tmp_path / "a.pt")
