"""Any file of weights as a snapshot."""

from ml_collections import ConfigDict

from mixcon3d_jax.exchange.original_checkpoint import snapshot_of_original
from mixcon3d_jax.exchange.own_export import snapshot_of_export
from mixcon3d_jax.exchange.pytorch_names import WeightsError
from mixcon3d_jax.exchange.snapshot import Snapshot
from mixcon3d_jax.exchange.weights_file import WeightsFile


def snapshot_of_file(file: WeightsFile, config: ConfigDict, scaling: int | None) -> Snapshot:
    """What a file holds, every name and shape checked.

    Args:
      file: a checkpoint of the original or of OpenShape, or an export of this project.
      config: for what the file doesn't say; its model is changed to that of the file.
      scaling: the encoder's, if the user names it; None to find out.

    Raises:
      WeightsError: if weights are unknown, missing, of another shape or of another scaling.
    """
    read = snapshot_of_original if file.about is None else snapshot_of_export
    try:
        return read(file, config, scaling)
    except WeightsError as error:
        raise WeightsError(f"{file.path}: {error}") from error
