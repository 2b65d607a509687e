"""The whole command against a server that speaks the hub's API."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import hub as hub_module
from data_prep import transfer
from data_prep.download import DiskSpaceError, choose, download, main
from data_prep.hub import HubError, RemoteFile, list_files
from mixcon3d_jax.errors import InputError
from tests.data_prep.hub_server import REPO, serve

ROOT = Path(__file__).resolve().parents[2]
# The client hands on blocks of 10 MB; what a killed run keeps is a multiple of it.
BLOCK = 10 * 1024 * 1024


def meta_data() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("meta_data/split/lvis.json", "[]")
    return buffer.getvalue()


def random_bytes(seed: int, count: int) -> bytes:
    return np.random.default_rng(seed).bytes(count)


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(hub_module, "WAITS_S", (0.0,))
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    files = {
        ".gitattributes": b"*.gz filter=lfs",
        "README.md": b"about the data",
        "meta_data.zip": meta_data(),
        "ShapeNet.tar.gz": random_bytes(0, 300_000),
        "Objaverse/000-000.tar.gz": random_bytes(1, 100_000),
        "Objaverse/000-001.tar.gz": random_bytes(2, 100_000),
    }
    with serve(files) as server:
        yield server


def get(hub, output, only=None, workers=2):
    remotes = list_files(REPO, hub.endpoint)
    download(choose(remotes, only) if only else remotes, output, workers)


def command(hub_endpoint, output, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "data_prep.download", f"--output={output}", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"HF_ENDPOINT": hub_endpoint, "HF_TOKEN": "hf_secret"},
    )


def assert_complete(hub, output, *paths):
    for path in paths or [path for path in hub.files if not path.startswith(".")]:
        assert (output / path).read_bytes() == hub.files[path]
    assert paths or not list(output.rglob("*.part"))


def content_requests(hub):
    return [(path, asked) for path, asked, _ in hub.requests if not path.startswith("resolve")]


def test_the_command_brings_everything_and_does_nothing_the_second_time(hub, tmp_path):
    process = command(hub.endpoint, tmp_path / "data")
    said, progress = process.communicate()
    assert process.returncode == 0, progress
    assert said.startswith("5 files of 500,")
    assert "0 are here and checked" in said
    assert "5/5 files" in progress
    assert_complete(hub, tmp_path / "data")
    assert not (tmp_path / "data" / ".gitattributes").exists()
    assert (tmp_path / "data" / "meta_data" / "split" / "lvis.json").read_text() == "[]"
    tokens = {path: token for path, _, token in hub.requests}
    assert tokens["resolve ShapeNet.tar.gz"] == "Bearer hf_secret"
    assert tokens["ShapeNet.tar.gz"] is None  # another host must not learn the token

    hub.requests.clear()
    process = command(hub.endpoint, tmp_path / "data")
    said, _ = process.communicate()
    assert process.returncode == 0
    assert "5 are here and checked, 0 bytes are left to download" in said
    assert hub.requests == []


def test_what_was_checked_is_not_read_again(hub, tmp_path, monkeypatch):
    get(hub, tmp_path)
    monkeypatch.setattr(transfer, "digest_of", lambda *_: pytest.fail("hashed again"))
    get(hub, tmp_path)


def test_killed_in_the_middle_the_next_run_continues_there(hub, tmp_path):
    hub.files["ShapeNet.tar.gz"] = random_bytes(3, 2 * BLOCK + 1000)
    hub.stall["ShapeNet.tar.gz"] = BLOCK + BLOCK // 2
    partial = tmp_path / "ShapeNet.tar.gz.part"
    process = command(hub.endpoint, tmp_path)
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size == BLOCK):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    hub.let_go.set()
    assert not (tmp_path / "ShapeNet.tar.gz").exists()

    hub.requests.clear()
    get(hub, tmp_path)
    assert ("ShapeNet.tar.gz", f"bytes={BLOCK}-") in content_requests(hub)
    assert_complete(hub, tmp_path)


def test_a_server_that_breaks_off_is_asked_for_the_rest(hub, tmp_path):
    hub.files["ShapeNet.tar.gz"] = random_bytes(3, 2 * BLOCK + 1000)
    hub.cut["ShapeNet.tar.gz"] = [BLOCK + BLOCK // 2]
    get(hub, tmp_path)
    asked = [part for path, part in content_requests(hub) if path == "ShapeNet.tar.gz"]
    assert asked == [None, f"bytes={BLOCK}-"]
    assert_complete(hub, tmp_path)


def test_a_server_that_keeps_breaking_off_loses_nothing(hub, tmp_path):
    hub.files["ShapeNet.tar.gz"] = random_bytes(3, 2 * BLOCK + 1000)
    hub.cut["ShapeNet.tar.gz"] = [BLOCK + BLOCK // 2, *[0] * 100]
    with pytest.raises(HubError, match=r"ShapeNet.tar.gz.*fails again and again.*kept"):
        get(hub, tmp_path)
    kept = tmp_path / "ShapeNet.tar.gz.part"
    assert kept.read_bytes() == hub.files["ShapeNet.tar.gz"][:BLOCK]
    hub.cut.clear()
    get(hub, tmp_path)
    assert content_requests(hub)[-1] == ("ShapeNet.tar.gz", f"bytes={BLOCK}-")
    assert_complete(hub, tmp_path)


def test_a_server_without_ranges_starts_over(hub, tmp_path):
    hub.ranges = False
    (tmp_path / "ShapeNet.tar.gz.part").write_bytes(hub.files["ShapeNet.tar.gz"][:1000])
    get(hub, tmp_path)
    assert_complete(hub, tmp_path)


def test_a_wrong_byte_is_noticed_and_the_file_fetched_again(hub, tmp_path, capsys):
    hub.wrong = {"ShapeNet.tar.gz": 1, "README.md": 1}
    get(hub, tmp_path)
    assert_complete(hub, tmp_path)
    said = capsys.readouterr().err
    assert "ShapeNet.tar.gz: its content has sha256:" in said
    assert "README.md: its content has git:" in said
    assert "it was deleted" in said


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"wrong": {"Objaverse/000-000.tar.gz": 2}}, "the hub says sha256:.* 2 times"),
        ({"refused": {"Objaverse/000-000.tar.gz": 404}}, "answers 404"),
        ({"refused": {"Objaverse/000-000.tar.gz": 503}}, "answers 503"),
    ],
)
def test_one_bad_file_keeps_no_other_from_coming(hub, tmp_path, fault, reason):
    for name, value in fault.items():
        setattr(hub, name, value)
    with pytest.raises(InputError, match=f"1 of 5 files failed:\n.*000-000.*{reason}"):
        get(hub, tmp_path)
    others = [path for path in hub.files if path[0] != "." and "000-000" not in path]
    assert_complete(hub, tmp_path, *others)
    assert (tmp_path / "meta_data" / "split").is_dir()

    hub.refused, hub.wrong = {}, {}
    hub.requests.clear()
    get(hub, tmp_path)
    assert content_requests(hub) == [("Objaverse/000-000.tar.gz", None)]
    assert_complete(hub, tmp_path)


def test_files_that_came_by_other_means_are_checked_not_fetched(hub, tmp_path):
    whole, broken, changed = hub.files["ShapeNet.tar.gz"], "Objaverse/000-000.tar.gz", "README.md"
    (tmp_path / "Objaverse").mkdir()
    (tmp_path / "ShapeNet.tar.gz").write_bytes(whole)
    (tmp_path / broken).write_bytes(hub.files[broken][:4000])
    (tmp_path / changed).write_bytes(b"x" * len(hub.files[changed]))
    (tmp_path / "meta_data.zip").write_bytes(hub.files["meta_data.zip"] + b"more")
    get(hub, tmp_path)
    asked = dict(content_requests(hub))
    assert "ShapeNet.tar.gz" not in asked
    assert asked[broken] == "bytes=4000-"
    assert asked[changed] is asked["meta_data.zip"] is None
    assert_complete(hub, tmp_path)


def test_a_file_that_changed_after_its_check_is_checked_again(hub, tmp_path):
    get(hub, tmp_path)
    damaged = bytearray(hub.files["ShapeNet.tar.gz"])
    damaged[0] ^= 1
    (tmp_path / "ShapeNet.tar.gz").write_bytes(damaged)
    (tmp_path / "Objaverse" / "000-001.tar.gz").unlink()
    get(hub, tmp_path)
    assert_complete(hub, tmp_path)


def test_a_new_version_on_the_hub_is_fetched(hub, tmp_path):
    get(hub, tmp_path)
    hub.files["ShapeNet.tar.gz"] = random_bytes(9, 300_000)
    get(hub, tmp_path)
    assert_complete(hub, tmp_path)


def test_a_damaged_memory_only_costs_time(hub, tmp_path):
    get(hub, tmp_path)
    (tmp_path / ".verified.json").write_text("[]")
    hub.requests.clear()
    get(hub, tmp_path)
    assert content_requests(hub) == []
    assert len(json.loads((tmp_path / ".verified.json").read_text())["files"]) == 5


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(hub, tmp_path):
    hub.listed_sizes["ShapeNet.tar.gz"] = 10**18
    with pytest.raises(DiskSpaceError, match=r"1000000000\.00 GB do not fit .*--only"):
        get(hub, tmp_path)
    assert content_requests(hub) == []
    get(hub, tmp_path, only=["Objaverse"])


def test_a_disk_that_refuses_to_write_keeps_what_there_is(hub, tmp_path):
    hub.files["ShapeNet.tar.gz"] = random_bytes(3, 2 * BLOCK + 1000)
    program = (
        "import resource, sys; from data_prep.download import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({BLOCK + 1}, {BLOCK + 1}))\n"
        "main(sys.argv[1:])"
    )
    arguments = [sys.executable, "-c", program, f"--output={tmp_path}"]
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint}
    done = subprocess.run(
        arguments, capture_output=True, text=True, env=environment, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert "ShapeNet.tar.gz.part can't be written (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    get(hub, tmp_path)
    assert_complete(hub, tmp_path)


def test_an_unreachable_hub(tmp_path):
    with serve({}) as server:
        closed = server.endpoint
    (tmp_path / "ShapeNet.tar.gz.part").write_bytes(b"begun")
    process = command(closed, tmp_path)
    _, said = process.communicate()
    assert process.returncode == 2
    assert said.startswith(f"error: the hub at {closed} can't be reached (ConnectError")
    assert "Traceback" not in said
    assert (tmp_path / "ShapeNet.tar.gz.part").read_bytes() == b"begun"


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "GatedRepo", "accept them on its page, then log in"),
        (404, "RepoNotFound", "has no data set OpenShape/openshape-training-data, or not for you"),
        (401, "", "has no data set OpenShape/openshape-training-data, or not for you"),
        (500, "", "answers 500"),
    ],
)
def test_a_hub_that_gives_no_listing(hub, tmp_path, status, code, reason):
    hub.status, hub.error_code = status, code
    with pytest.raises(HubError, match=reason):
        list_files(REPO, hub.endpoint)


@pytest.mark.parametrize("fault", [TypeError, AttributeError])
def test_a_fault_of_the_program_is_not_called_one_of_the_network(hub, tmp_path, monkeypatch, fault):
    tried = []

    def fail(*args, **kwargs):
        tried.append(1)
        raise fault("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(hub_module, "http_get", fail)
        with pytest.raises(fault, match="a bug"):
            get(hub, tmp_path, ["ShapeNet"], workers=1)
    assert len(tried) == 1
    monkeypatch.setattr(hub_module.HfApi, "dataset_info", fail)
    with pytest.raises(fault, match="a bug"):
        list_files(REPO, hub.endpoint)


@pytest.mark.parametrize("workers", ["0", "-1", "x"])
def test_workers_are_a_number_from_1_on(tmp_path, capsys, workers):
    with pytest.raises(SystemExit) as exited:
        main([f"--output={tmp_path}", f"--workers={workers}"])
    assert exited.value.code == 2
    assert f"'{workers}' is no whole number of 1 or more" in capsys.readouterr().err


def test_a_name_that_is_none(hub):
    with pytest.raises(HubError, match="--repo-id=a/b/c is no name of a repository"):
        list_files("a/b/c", hub.endpoint)


def test_gated_content_ends_the_download(hub, tmp_path):
    hub.refused["ShapeNet.tar.gz"], hub.error_code = 403, "GatedRepo"
    with pytest.raises(HubError, match=r"ShapeNet.tar.gz: .*accepted its terms.*kept"):
        get(hub, tmp_path, workers=1)


def test_a_name_outside_the_folder_is_refused(hub, tmp_path):
    hub.files["../escaped.gz"] = b"payload"
    with pytest.raises(HubError, match=r"a file is named '\.\./escaped\.gz'; nothing is written"):
        get(hub, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_two_downloads_into_one_folder(hub, tmp_path):
    hub.stall["ShapeNet.tar.gz"] = 0
    first = command(hub.endpoint, tmp_path)
    deadline = time.monotonic() + 30
    while "ShapeNet.tar.gz" not in dict(content_requests(hub)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(InputError, match=r"another download into .* is running"):
        get(hub, tmp_path)
    hub.let_go.set()
    assert first.wait(30) == 0
    first.communicate()
    assert_complete(hub, tmp_path)


def test_meta_data_is_unpacked_again_when_its_folder_is_gone(hub, tmp_path):
    get(hub, tmp_path)
    unpacked = tmp_path / "meta_data" / "split" / "lvis.json"
    unpacked.unlink()
    unpacked.parent.rmdir()
    unpacked.parent.parent.rmdir()
    get(hub, tmp_path)
    assert unpacked.exists()


NAMES = ["3D-FUTURE", "ABO", "Objaverse/000-000", "Objaverse/000-001", "ShapeNet", "meta_data"]
REMOTES = [
    RemoteFile(f"{name}{'.zip' if name == 'meta_data' else '.tar.gz'}", 1, "sha256:", "")
    for name in NAMES
]


@given(st.lists(st.sampled_from(NAMES), min_size=1))
def test_files_are_chosen_by_name(names):
    chosen = choose(REMOTES, names)
    assert [remote.path.split(".")[0] for remote in chosen] == sorted(set(names))


def test_a_folder_names_all_in_it_and_file_names_work_too():
    chosen = choose(REMOTES, ["Objaverse/", " ABO.tar.gz"])
    assert [remote.path for remote in chosen] == [
        "ABO.tar.gz",
        "Objaverse/000-000.tar.gz",
        "Objaverse/000-001.tar.gz",
    ]


@given(st.text().filter(lambda text: text.strip().strip("/") not in [*NAMES, "Objaverse"]))
def test_an_unknown_name_lists_what_there_is(name):
    with pytest.raises(InputError) as caught:
        choose(REMOTES, [name, "ABO"])
    assert str(caught.value).endswith(
        "there are 3D-FUTURE, ABO, ShapeNet, meta_data, Objaverse (2 files: Objaverse/000-000 to "
        "Objaverse/000-001)"
    )
