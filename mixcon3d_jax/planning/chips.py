"""What a TPU chip of each kind has, as Google's documentation says it."""

import dataclasses

GIB = 2**30


@dataclasses.dataclass(frozen=True)
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
      clock: cycles a second; follows from the peak and the size of the matrix units.
      dimensions: of the grid that a slice is.
      cores: that an accelerator type such as `v4-32` counts a chip as.
      largest: chips a slice.
      chips_per_host: that share its way to other slices.
    """

    hbm_bytes: int
    peak_flops: float
    hbm_bandwidth: float
    link_bandwidth: float
    links: int
    host_bandwidth: float
    clock: float
    dimensions: int
    cores: int
    largest: int
    chips_per_host: int
    reserved_bytes: int

    @property
    def usable_bytes(self) -> int:
        """What a program may take at its peak."""
        return self.hbm_bytes - self.reserved_bytes

    @property
    def sending_bandwidth(self) -> float:
        """Of all links together, in one direction, bytes a second."""
        return self.link_bandwidth * self.links


# Memory, FLOP/s, bandwidth of memory and of links: the tables "System architecture" of
# https://cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}, read in November 2026 ("bidirectional" figures
# there are halved here; v4's links are from https://arxiv.org/abs/2304.01433, 50 GB/s each).
# Between slices: v5e and v6e by their hosts' network cards (2 x 100, 4 x 200 Gbit/s), v5p by its
# chip's 50 Gbit/s times 4; v4's is not published and taken to be v5p's.
# Reserved: the TPU compiler refuses programs of more than 30.75 GiB on v4, 15.75 on v5e and 31.25 on
# v6e; on v5p it takes 95.74, more than is documented, so a quarter of a GiB is left there.
CHIPS: dict[str, Chip] = {
    "v4": Chip(32 * GIB, 275e12, 1228e9, 50e9, 6, 25e9, 1.05e9, 3, 2, 4096, 4, 5 * GIB // 4),
    "v5e": Chip(16 * GIB, 197e12, 819e9, 50e9, 4, 25e9, 1.5e9, 2, 1, 256, 8, GIB // 4),
    "v5p": Chip(95 * GIB, 459e12, 2765e9, 100e9, 6, 25e9, 1.75e9, 3, 2, 8960, 4, GIB // 4),
    "v6e": Chip(32 * GIB, 918e12, 1640e9, 100e9, 4, 100e9, 1.75e9, 2, 1, 256, 8, 3 * GIB // 4),
}
