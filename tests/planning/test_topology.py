import pytest

from mixcon3d_jax.planning.topology import Topology, TopologyError, known_names, parse_topology


@pytest.mark.parametrize(
    ("name", "grid", "chips"),
    [
        ("v5e:16x16", "v5e:16x16", 256),
        ("v5litepod-256", "v5e:16x16", 256),
        ("v5e-256", "v5e:16x16", 256),
        ("v6e-8", "v6e:2x4", 8),
        ("v6e-1", "v6e:1x1", 1),
        ("v4-32", "v4:2x2x4", 16),  # counts cores, two a chip
        ("v4-8", "v4:2x2x1", 4),
        ("v5p-256", "v5p:4x4x8", 128),
        ("v5p:8x8x16", "v5p:8x8x16", 1024),
        ("4*v5e:16x16", "4*v5e:16x16", 1024),
        ("2*v4-32", "2*v4:2x2x4", 32),
    ],
)
def test_usual_names(name, grid, chips):
    topology = parse_topology(name)
    assert (topology.name, topology.chips) == (grid, chips)


def test_every_known_name_means_itself():
    for name in known_names():
        assert name in (parse_topology(name).name, parse_topology(name).accelerator_type)
    assert parse_topology("v4-32").accelerator_type == "v4-32"
    assert parse_topology("v5e:4x4").accelerator_type == "v5litepod-16"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("v5e:16x15", "did you mean v5e:16x16"),
        ("v5e:32x16", "at most 256 chips"),
        ("v4:4x4", "3 dimensions"),
        ("v5e:4x", "written as 4x4"),
        ("v4-33", "did you mean v4-32"),
        ("v7x:2x2", "chips are v4, v5e, v5p, v6e"),
        ("tpu", "neither a grid nor an accelerator type"),
        ("0*v5e:2x2", "no slice"),
        ("v4:3x2x1", "2x2 chips"),
    ],
)
def test_an_unknown_name_says_what_is_known(name, hint):
    with pytest.raises(TopologyError) as error:
        parse_topology(name)
    message = str(error.value)
    assert f"--topology={name} is not known" in message
    assert hint in message
    assert "v5e:1x1, v5e:2x2" in message
    assert "4*v5e:16x16" in message


@pytest.mark.parametrize(("kind", "gib"), [("v4", 30.75), ("v5e", 15.75), ("v6e", 31.25)])
def test_usable_memory_is_what_the_compiler_takes_at_most(kind, gib):
    assert Topology(kind, (2, 2)).chip.usable_bytes == gib * 2**30
