"""What a TPU chip of each kind has, as Google's documentation says it."""

import dataclasses

GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """One kind of TPU.

    Attributes:
      hbm_bytes: memory.
      reserved_bytes: of it, kept by the run-time system; a program gets the rest.
      peak_flops: bfloat16 products of the matrix units, a second.
      hbm_bandwidth: bytes a second.
      link_bandwidth: of one link to a neighbour, in one direction, bytes a second.
      links: to neighbours.
      host_bandwidth: of a host's way to other slices, in one direction, bytes a second.
      chips_per_host: that share its way to other slices.
      clock: cycles a second; follows from the peak and the size of the matrix units.
      dimensions: of the grid that a slice is.
      cores: that an accelerator type such as `v4-32` counts a chip as.
      largest: chips a slice.
    """

    hbm_bytes: int
    reserved_bytes: int
    peak_flops: float
    hbm_bandwidth: float
    link_bandwidth: float
    links: int
    host_bandwidth: float
    chips_per_host: int
    clock: float
    dimensions: int
    cores: int
    largest: int

    @property
    def usable_bytes(self) -> int:
        """What a program may take at its peak."""
        return self.hbm_bytes - self.reserved_bytes

    @property
    def sending_bandwidth(self) -> float:
        """Of all links together, in one direction, bytes a second."""
        return self.link_bandwidth * self.links


# Memory, FLOP/s, bandwidth of memory and of links: tables "System architecture" of
# https://cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}; what is "bidirectional" there is halved here.
# v4's links: 50 GB/s each, https://arxiv.org/abs/2304.01433.
# Hosts' networks: v5e's and v6e's cards are 2 x 100 and 4 x 200 Gbit/s, v5p's chips have 50 Gbit/s
# each; v4's is not published and taken to be v5p's.
# Reserved: the TPU compiler refuses programs of more than 30.75 GiB on v4, 15.75 on v5e and 31.25
# on v6e; on v5p it takes 95.74, more than is documented, so a quarter of a GiB is left there.
CHIPS: dict[str, Chip] = {
    "v4": Chip(
        hbm_bytes=32 * GIB,
        reserved_bytes=5 * GIB // 4,
        peak_flops=275e12,
        hbm_bandwidth=1228e9,
        link_bandwidth=50e9,
        links=6,
        host_bandwidth=25e9,
        chips_per_host=4,
        clock=1.05e9,
        dimensions=3,
        cores=2,
        largest=4096,
    ),
    "v5e": Chip(
        hbm_bytes=16 * GIB,
        reserved_bytes=GIB // 4,
        peak_flops=197e12,
        hbm_bandwidth=819e9,
        link_bandwidth=50e9,
        links=4,
        host_bandwidth=25e9,
        chips_per_host=8,
        clock=1.5e9,
        dimensions=2,
        cores=1,
        largest=256,
    ),
    "v5p": Chip(
        hbm_bytes=95 * GIB,
        reserved_bytes=GIB // 4,
        peak_flops=459e12,
        hbm_bandwidth=2765e9,
        link_bandwidth=100e9,
        links=6,
        host_bandwidth=25e9,
        chips_per_host=4,
        clock=1.75e9,
        dimensions=3,
        cores=2,
        largest=8960,
    ),
    "v6e": Chip(
        hbm_bytes=32 * GIB,
        reserved_bytes=3 * GIB // 4,
        peak_flops=918e12,
        hbm_bandwidth=1640e9,
        link_bandwidth=100e9,
        links=4,
        host_bandwidth=100e9,
        chips_per_host=8,
        clock=1.75e9,
        dimensions=2,
        cores=1,
        largest=256,
    ),
}
