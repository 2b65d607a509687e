"""What all tests share: 8 virtual CPU devices, and paths of reference data that may be absent."""

from pathlib import Path

import pytest

from mixcon3d_jax.sharding import use_virtual_cpu_devices

use_virtual_cpu_devices(8)

_SHARED = Path(__file__).resolve().parents[2] / "shared"


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
