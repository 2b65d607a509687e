"""Keys of the original's checkpoints that hold no weights, and the one that is this project's."""

# Best accuracies so far, which the original's loader asks for.
BEST = (
    "best_img_contras_acc",
    "best_text_contras_acc",
    "best_modelnet40_overall_acc",
    "best_modelnet40_class_acc",
    "best_lvis_acc",
)
# What an export of this project knows beyond the original's keys.
OWN_KEY = "mixcon3d_jax"
OWN_VERSION = 1
NO_WEIGHTS = frozenset({"optimizer", "scheduler", "epoch", "step", *BEST, OWN_KEY})
