import pytest

from mixcon3d_jax.planning.chips import CHIPS
from mixcon3d_jax.planning.cost import Cost, Messages, Products
from mixcon3d_jax.planning.floor import step_floor


def test_each_resource_has_its_time_and_the_longest_is_the_floor():
    cost = Cost(
        products={
            "bfloat16": Products(197 * 10**9, 1),
            "float32 (highest)": Products(197 * 10**8, 6),
        },
        hbm_bytes=819 * 10**6 * 5,
        messages={
            "all-reduce": Messages(1, 0, 200 * 10**6),
            "collective-permute": Messages(1, 0, 50 * 10**6),
            "all-reduce between slices": Messages(1, 0, 20 * 10**6),
            "collective-permute between slices": Messages(1, 0, 40 * 10**6),
        },
        cycles=15 * 10**6,
    )
    floor = step_floor(cost, CHIPS["v5e"])
    assert floor.products == pytest.approx(1.6e-3)
    assert floor.memory == pytest.approx(5e-3)
    # All links for the sum, one for the ring.
    assert floor.links == pytest.approx(1e-3 + 1e-3)
    # Eight chips share their host's network; a ring leaves the slice by one of them.
    assert floor.network == pytest.approx(6.4e-3 + 1.6e-3)
    assert floor.schedule == pytest.approx(10e-3)
    assert (floor.seconds, floor.bound) == (pytest.approx(8e-3), "network")
    assert floor.step_seconds(0.4) == pytest.approx(20e-3)
    assert floor.step_seconds(1.0) == pytest.approx(10e-3)
