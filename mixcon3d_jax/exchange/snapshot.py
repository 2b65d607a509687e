"""What a file of weights holds, in this project's names and layouts."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from numpy import ndarray

from mixcon3d_jax.data.schema import DatasetCard
from mixcon3d_jax.exchange.pytorch_names import WeightsError

# Path of a parameter or running statistic -> array.
Arrays = dict[str, Float[ndarray, "..."]]
# AdamW's first and second moments of a parameter, of its shape.
MomentPair = tuple[Float[ndarray, "..."], Float[ndarray, "..."]]


@dataclasses.dataclass(frozen=True)
class About:
    """What a reader of weights must know beside them; every checkpoint of a run carries it.

    Attributes:
      config: of the run.
      clip_id: the CLIP in whose space the embeddings lie.
      up_axis: the axis that points up in the data sets that the weights were trained on.
      color_rule: what colours mean there.
      num_records: shapes in the split that was trained on; 0 where that isn't known.
      epoch: counted from 0; of a training begun elsewhere, where `num_records` isn't known.
      missing: modules whose weights are not there (`fusion`, `multi_view_proj`): random ones
        stand in for them, so that nothing they compute means anything.
    """

    config: dict[str, Any]
    clip_id: str
    up_axis: str = DatasetCard.up_axis
    color_rule: str = DatasetCard.color_rule
    num_records: int = 0
    epoch: int = 0
    missing: tuple[str, ...] = ()

    @classmethod
    def of_meta(cls, meta: Mapping[str, Any]) -> "About":
        """From the `meta` of a checkpoint."""
        known = {field.name for field in dataclasses.fields(cls)}
        fields = {key: value for key, value in meta.items() if key in known}
        return cls(**fields | {"missing": tuple(fields.get("missing", ()))})

    def to_meta(self) -> dict[str, Any]:
        """For the `meta` of a checkpoint."""
        return dataclasses.asdict(self) | {"missing": list(self.missing)}

    def epoch_at(self, step: int) -> int:
        """The epoch that training is in after `step` updates, counted from 0."""
        if not self.num_records:
            return self.epoch
        return step * self.config["optim"]["batch_size"] // self.num_records

    def to_text(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_meta(), sort_keys=True)

    @classmethod
    def of_text(cls, text: str) -> "About":
        """From `to_text`.

        Raises:
          WeightsError: if it is something else.
        """
        try:
            return cls.of_meta(json.loads(text))
        except (TypeError, ValueError, AttributeError) as error:
            raise WeightsError(
                f"what the file says about its weights can't be read ({error}); export it again"
            ) from error


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A training state as plain arrays.

    Attributes:
      about: what the weights are.
      step: updates done.
      raw: the weights and running statistics that training moves.
      ema: their running averages.
      moments: AdamW's first and second moments of each parameter that has some; empty where a
        file has none.
      notes: what a person should be told about where all of this came from.
    """

    about: About
    step: int
    raw: Arrays
    ema: Arrays
    moments: dict[str, MomentPair]
    notes: tuple[str, ...] = ()
