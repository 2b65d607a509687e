"""The least time that a step can take on a chip, and what follows for a whole training."""

import dataclasses

from mixcon3d_jax.planning.chips import Chip
from mixcon3d_jax.planning.collectives import BETWEEN
from mixcon3d_jax.planning.cost import Cost


@dataclasses.dataclass(frozen=True)
class Floor:
    """Seconds that a step takes at least, for each thing that it needs.

    Attributes:
      products: matrix products at the chip's peak; a float32 product in as many bfloat16 passes as
        its precision takes.
      memory: bytes at the bandwidth of HBM.
      links: bytes to chips of the same slice, at the bandwidth of all links; what goes around a
        ring (`collective-permute`) at that of one.
      network: bytes to other slices, at the chip's share of its host's network; what goes around a
        ring leaves a slice by one chip, which has all of it.
      schedule: the compiler's own estimate of all instructions that it gives one for, one after the
        other; without gathers and collectives.  No floor, but what it expects of this program.
    """

    products: float
    memory: float
    links: float
    network: float
    schedule: float

    @property
    def seconds(self) -> float:
        """The floor: the largest of the four, as if all else ran beside it."""
        return max(self.products, self.memory, self.links, self.network)

    @property
    def bound(self) -> str:
        """Which of the four it is."""
        names = ("products", "memory", "links", "network")
        return max(names, key=lambda name: getattr(self, name))

    def step_seconds(self, efficiency: float) -> float:
        """The expected step: the floor at an efficiency, or the compiler's estimate if longer."""
        return max(self.seconds / efficiency, self.schedule)


def step_floor(cost: Cost, chip: Chip) -> Floor:
    """The floor of a program of that cost on a chip."""
    links = network = 0.0
    for kind, messages in cost.messages.items():
        ring = kind.startswith("collective-permute")
        if kind.endswith(BETWEEN):
            sharing = 1 if ring else chip.chips_per_host
            network += messages.sent * sharing / chip.host_bandwidth
        else:
            links += messages.sent / (chip.link_bandwidth if ring else chip.sending_bandwidth)
    return Floor(
        products=cost.pass_flops / chip.peak_flops,
        memory=cost.hbm_bytes / chip.hbm_bandwidth,
        links=links,
        network=network,
        schedule=cost.cycles / chip.clock,
    )
