"""The whole command, in real processes where that matters."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from data_prep.assets import main
from data_prep.prepare_asset import decode_render
from mixcon3d_jax.data.schema import decode_record
from mixcon3d_jax.data.source import class_embeddings, open_split, read_card
from mixcon3d_jax.models.clip_folder import ClipFolder
from mixcon3d_jax.models.prompts import PROMPT_TEMPLATES
from tests.data_prep.conftest import make_assets, write_manifest
from tests.tiny_clip import TINY_CLIP_IMAGE_SIZE

COUNT = 40


def arguments(assets, output, clip, **options):
    options = {"num-points": 64, "workers": 2, "name": "tiny"} | options
    return [
        f"--manifest={assets / 'manifest.json'}",
        f"--output={output}",
        f"--clip={clip}",
        "--up-axis=y",
        *(f"--{key}={value}" for key, value in options.items()),
    ]


def files_of(folder):
    """Name -> content of everything that a finished data set consists of."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    make_assets(folder, COUNT)
    return folder


@pytest.fixture(scope="module")
def undisturbed(assets, tiny_clip, tmp_path_factory):
    output = tmp_path_factory.mktemp("undisturbed")
    assert main(arguments(assets, output, tiny_clip)) == 0
    return output


def records(folder, split):
    return [decode_record(example) for example in open_split(folder, split)]


def test_the_card(undisturbed):
    card = read_card(undisturbed)
    assert (card.name, card.clip_id, card.embedding_size) == ("tiny", "tiny-clip", 32)
    assert (card.num_points, card.num_views, card.up_axis) == (64, 12, "y")
    assert card.classes == ("can", "toy_box")
    assert card.splits == {"test": COUNT // 4, "train": COUNT * 3 // 4}
    report = json.loads((undisturbed / "report.json").read_text())
    assert report["counts"]["prepared"] == COUNT
    assert report["failures"] == report["warnings"] == []
    assert not (undisturbed / "work").exists()
    assert (undisturbed / "contact_sheets" / "objects_0.png").exists()


def test_records_hold_embeddings_of_their_own_renders_and_texts(undisturbed, tiny_clip):
    clip = ClipFolder.load(tiny_clip)
    for record in records(undisturbed, "test")[:3]:
        images = [decode_render(png) for png in record.renders]
        assert images[0].shape == (TINY_CLIP_IMAGE_SIZE, TINY_CLIP_IMAGE_SIZE, 3)
        # Stored as float16: numbers up to 1 are off by up to 5e-4.
        np.testing.assert_allclose(record.view_embeddings, clip.embed_images(images), atol=6e-4)
        assert [text.source for text in record.texts] == ["text", "caption"]
        assert record.texts[1].text.endswith(f"number {int(record.id[:3])}")
        for text in record.texts:
            original = clip.embed_texts([text.text])[0]
            np.testing.assert_allclose(text.original, original, atol=6e-4)
            mean = clip.embed_texts([t.format(text.text) for t in PROMPT_TEMPLATES]).mean(axis=0)
            mean /= np.linalg.norm(mean)
            np.testing.assert_allclose(text.prompt_avg, mean, atol=6e-4)


def test_class_embeddings_are_of_the_names_as_they_are_said(undisturbed, tiny_clip):
    clip = ClipFolder.load(tiny_clip)
    mean = clip.embed_texts([t.format("toy box") for t in PROMPT_TEMPLATES]).mean(axis=0)
    expected = mean / np.linalg.norm(mean)
    np.testing.assert_allclose(class_embeddings(undisturbed)[1], expected, atol=1e-5)


def test_classes_are_mixed(undisturbed):
    names = [record.class_name for record in records(undisturbed, "train")]
    changes = sum(a != b for a, b in itertools.pairwise(names))
    assert changes > len(names) / 4


def test_another_number_of_workers_gives_the_same_files(undisturbed, assets, tiny_clip, tmp_path):
    assert main(arguments(assets, tmp_path, tiny_clip, workers=1)) == 0
    assert files_of(tmp_path) == files_of(undisturbed)


def start(assets, output, clip, **options):
    command = [
        sys.executable,
        "-m",
        "data_prep.assets",
        *arguments(assets, output, clip, **options),
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_killed_and_resumed_it_continues_and_gives_the_same_files(
    undisturbed, assets, tiny_clip, tmp_path
):
    # The last asset is missing at first, so that the run ends early and its work can be looked at.
    folder, output = tmp_path / "assets", tmp_path / "output"
    make_assets(folder, COUNT)
    last = folder / f"{COUNT - 1:03d}.glb"
    kept = last.read_bytes()
    last.unlink()

    process = start(folder, output, tiny_clip)
    finished = output / "work" / "assets"
    while process.poll() is None and len(list(finished.glob("*.npz"))) < 5:
        time.sleep(0.001)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive

    done = {path: path.stat().st_mtime_ns for path in finished.glob("*.npz")}
    assert 5 <= len(done) < COUNT
    assert not (output / "card.json").exists()

    assert main(arguments(folder, output, tiny_clip)) == 1
    assert all(path.stat().st_mtime_ns == time_done for path, time_done in done.items())
    assert len(list(finished.glob("*.npz"))) == COUNT - 1
    assert sum(read_card(output).splits.values()) == COUNT - 1
    last.write_bytes(kept)
    assert main(arguments(folder, output, tiny_clip)) == 0
    assert files_of(output) == files_of(undisturbed)


@pytest.fixture
def mixed_assets(tmp_path):
    """Every kind of bad asset among good ones."""
    folder = tmp_path / "assets"
    good = make_assets(folder, 4)
    (folder / "empty.glb").touch()
    (folder / "truncated.glb").write_bytes((folder / "000.glb").read_bytes()[:400])
    (folder / "text.glb").write_text("not a mesh")
    (folder / "flat.obj").write_text("v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\n")
    (folder / "nan.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 nan\n0 1 0\n3 0 1 2\n")
    np.save(folder / "few.npy", np.random.default_rng(0).normal(size=(20, 3)))
    (folder / "grey.obj").write_text(
        "mtllib grey.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nusemtl m\nf 1/1 2/1 3/1\n"
    )
    (folder / "grey.mtl").write_text("newmtl m\nmap_Kd broken.png\n")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    bad = ["missing.glb", "empty.glb", "truncated.glb", "text.glb", "flat.obj", "nan.off"]
    extra = [{"path": name, "class": "odd", "text": name} for name in [*bad, "few.npy", "grey.obj"]]
    write_manifest(folder, good + extra)
    return folder, bad


def test_bad_assets_are_reported_and_the_rest_is_kept(mixed_assets, tiny_clip, tmp_path, capsys):
    folder, bad = mixed_assets
    output = tmp_path / "output"
    assert main(arguments(folder, output, tiny_clip, **{"max-failures": 5})) == 1
    assert sum(read_card(output).splits.values()) == 6
    report = json.loads((output / "report.json").read_text())
    assert [failure["id"] for failure in report["failures"]] == bad
    reasons = dict(
        zip(bad, ["no such file", "empty", "truncated", "not a GLB", "no area", "NaN"], strict=True)
    )
    said = capsys.readouterr().err
    for failure in report["failures"]:
        assert reasons[failure["id"]] in failure["reason"]
        assert failure["path"] in failure["reason"]
        assert failure["reason"] in said
    assert "error: 6 assets failed, 5 may (--max-failures): the data set is made of" in said
    before = files_of(output)

    assert main(arguments(folder, output, tiny_clip, **{"max-failures": 6})) == 0
    assert files_of(output) == before
    counts = json.loads((output / "report.json").read_text())["counts"]
    assert counts == {
        "assets": 12,
        "prepared": 6,
        "failed": 6,
        "with_warnings": 2,
        "clouds_sampled_with_replacement": 1,
    }
    card = read_card(output)
    assert sum(card.splits.values()) == 6
    assert "odd" in card.classes
    grey = next(r for r in records(output, "train") if r.id == "grey.obj")
    assert (grey.colors == 102).all()
    said = capsys.readouterr().err
    assert "broken.png" in said
    assert "sampled with replacement" in said


def test_a_full_disk_keeps_finished_work(assets, tiny_clip, tmp_path, undisturbed):
    # 32 blocks of 512 bytes: room for a prepared asset, not for a contact sheet.
    limited = ["sh", "-c", 'ulimit -f 32; exec "$@"', "sh"]
    command = [
        *limited,
        sys.executable,
        "-m",
        "data_prep.assets",
        *arguments(assets, tmp_path, tiny_clip),
    ]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "can't be written (File too large)" in ended.stderr
    assert str(tmp_path / "contact_sheets") in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(list((tmp_path / "work" / "assets").glob("*.npz"))) == COUNT
    assert main(arguments(assets, tmp_path, tiny_clip)) == 0
    assert files_of(tmp_path) == files_of(undisturbed)


def test_wrong_input_ends_with_one_line(assets, tiny_clip, tmp_path, capsys):
    for given, message in [
        (arguments(tmp_path, tmp_path, tiny_clip), "manifest cannot be read"),
        (arguments(assets, tmp_path, tmp_path / "no_clip"), "no_clip"),
        (arguments(assets, tmp_path, tiny_clip, name="My Data"), "--name=My Data"),
        (arguments(assets, tiny_clip / "config.json" / "x", tiny_clip), "config.json/x can't be"),
    ]:
        with pytest.raises(SystemExit) as ended:
            main(given)
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert message in said


def test_options_without_which_less_is_stored(assets, tiny_clip, tmp_path):
    given = arguments(assets, tmp_path, tiny_clip)
    assert main([*given, "--no-keep-renders", "--no-prompt-texts"]) == 0
    record = records(tmp_path, "test")[0]
    assert record.renders == ()
    assert record.texts[0].prompt_avg is None
    assert record.texts[0].original is not None


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--workers=abc", "argument --workers: 'abc' is no whole number of 1 or more"),
        ("--workers=0", "'0' is no whole number of 1 or more"),
        ("--seed=-1", "argument --seed: '-1' is no whole number of 0 or more"),
        ("--max-failures=-1", "'-1' is no whole number of 0 or more"),
        ("--test-fraction=x", "'x' is no number between 0 and 1"),
        ("--test-fraction=1", "'1' is no number between 0 and 1"),
    ],
)
def test_flags_that_are_no_numbers(assets, tiny_clip, tmp_path, capsys, option, message):
    with pytest.raises(SystemExit) as ended:
        main([*arguments(assets, tmp_path, tiny_clip), option])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def times_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_repeated_it_does_nothing_and_changed_it_works_again(tiny_clip, tmp_path, capsys):
    folder, output = tmp_path / "assets", tmp_path / "output"
    entries = make_assets(folder, 8)
    given = arguments(folder, output, tiny_clip)
    assert main(given) == 0
    before = times_of(output)
    capsys.readouterr()
    assert main(given) == 0
    assert f"nothing to do: {output}" in capsys.readouterr().out
    assert times_of(output) == before

    def is_redone(given):
        shard = output / "tiny-train.array_record-00000-of-00001"
        before = shard.stat().st_ino, shard.stat().st_mtime_ns
        assert main(given) == 0
        return (shard.stat().st_ino, shard.stat().st_mtime_ns) != before

    write_manifest(folder, [entries[0] | {"text": "something else"}, *entries[1:]])
    assert is_redone(given)
    assert any(r.texts[0].text == "something else" for r in records(output, "test"))
    assert is_redone([*given, "--seed=1"])
    assert not is_redone([*given, "--seed=1"])
    shutil.copytree(tiny_clip, tmp_path / "copied_clip")
    given[2] = f"--clip={tmp_path / 'copied_clip'}"
    (tmp_path / "copied_clip" / "model.safetensors").touch()
    assert not is_redone([*given, "--seed=1"])
    with (tmp_path / "copied_clip" / "config.json").open("a") as file:
        file.write("\n")
    assert is_redone([*given, "--seed=1"])
    (folder / "000.glb").write_bytes((folder / "001.glb").read_bytes())
    assert is_redone([*given, "--seed=1"])
    (output / "tiny-test.array_record-00000-of-00001").unlink()
    assert is_redone([*given, "--seed=1"])


def test_failures_are_tried_again_and_change_nothing_if_they_fail_again(
    tiny_clip, tmp_path, capsys
):
    folder, output = tmp_path / "assets", tmp_path / "output"
    make_assets(folder, 8)
    whole = (folder / "003.glb").read_bytes()
    (folder / "003.glb").write_bytes(whole[:100])
    given = arguments(folder, output, tiny_clip)
    assert main(given) == 1
    before = times_of(output)
    assert main(given) == 1
    assert "nothing to do" in capsys.readouterr().out
    after = times_of(output)
    written = {path.name for path in before if after[path] != before[path]}
    assert written <= {"output", "report.json"}
    (folder / "003.glb").write_bytes(whole)
    assert main(given) == 0
    assert sum(read_card(output).splits.values()) == 8
    assert not (output / "work").exists()


def test_a_failing_second_run_leaves_the_first_data_set(tiny_clip, tmp_path, monkeypatch, capsys):
    folder, output = tmp_path / "assets", tmp_path / "output"
    make_assets(folder, 8)
    assert main(arguments(folder, output, tiny_clip)) == 0
    for path in folder.glob("*.glb"):
        path.write_bytes(b"")
    assert main(arguments(folder, output, tiny_clip)) == 1
    assert "all assets failed: no data set was written" in capsys.readouterr().err
    assert len(records(output, "train")) == 6


def test_the_clip_goes_by_the_name_that_is_given(tiny_clip, tmp_path, capsys):
    folder, output = tmp_path / "assets", tmp_path / "output"
    make_assets(folder, 4)
    assert main([*arguments(folder, output, tiny_clip), "--clip-id=lab/our-clip"]) == 0
    assert read_card(output).clip_id == "lab/our-clip"
    said = capsys.readouterr().out
    assert said.startswith("the data set will name its CLIP 'lab/our-clip', with embeddings of ")
    assert "size 32" in said
