"""What all tests share: 8 virtual CPU devices, and paths of reference data that may be absent."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# The same small programs are compiled again and again, here and in the processes that tests start;
# set before JAX is imported.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_ROOT / ".pytest_cache" / "programs"))

import pytest  # noqa: E402

from mixcon3d_jax.sharding import use_virtual_cpu_devices  # noqa: E402
from tests.bucket_server import BucketServer, bucket_server  # noqa: E402

use_virtual_cpu_devices(8)

_SHARED = _ROOT.parent / "shared"
# They come first, so that none of them begins when the other worker has nothing left to do.
_LONGEST = (
    "distributed/test_training.py",
    "training/test_loop.py",
    "test_openshape_end_to_end.py",
    "training/test_step.py",
    "test_random_kills.py",
    "test_bucket_run.py",
    "test_end_to_end.py",
    "tpu_scripts/test_training.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first."""
    first = {_ROOT / "tests" / name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


@pytest.fixture(scope="session")
def real_assets() -> Path:
    """A folder of assets made by others, with its manifest."""
    folder = _SHARED / "real"
    if not folder.exists():
        pytest.skip(f"needs the assets in {folder}")
    return folder


@pytest.fixture(scope="session")
def golden_folders() -> Path:
    """Numbers measured from the original."""
    folder = _SHARED / "golden"
    if not folder.exists():
        pytest.skip(f"needs the reference numbers in {folder}")
    return folder


@pytest.fixture(scope="session")
def cloud_storage() -> Iterator[BucketServer]:
    """Cloud Storage on this machine, for this process and those that it starts."""
    with bucket_server() as server, pytest.MonkeyPatch.context() as patch:
        for key, value in server.environment.items():
            patch.setenv(key, value)
        yield server


@pytest.fixture
def bucket(cloud_storage) -> str:
    """`gs://NAME` of an empty bucket in `cloud_storage`."""
    return new_bucket(cloud_storage)


def new_bucket(cloud_storage: BucketServer) -> str:
    """`gs://NAME` of one more empty bucket."""
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    cloud_storage.buckets[name] = {}
    return f"gs://{name}"
