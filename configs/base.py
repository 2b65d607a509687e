"""The base that every config starts from.  A config file returns it with a few keys changed.

Every key can be set on the command line: `--config.optim.learning_rate=5e-4`.
"""

import ml_collections
from ml_collections.config_dict import placeholder


def get_config() -> ml_collections.ConfigDict:
    """MixCon3D as the paper trains it, without a data set."""
    config = ml_collections.ConfigDict()

    # Of the initial weights, the data order and the augmentation.
    config.seed = 0
    # More than 0: that many virtual CPU devices, to try a mesh on a laptop.
    config.virtual_cpu_devices = 0

    # Programs that take a second or more to compile are kept in `WORKDIR/compilation_cache`, on a
    # disk or in a bucket, and the next start reads them.  JAX_COMPILATION_CACHE_DIR, where it is
    # set, names another folder.
    config.compilation_cache = True
    # `START:STOP` records what host and devices do in the steps that come after START and before
    # STOP updates of the run, into `WORKDIR/profile`; a few steps are enough.  Empty: nothing.
    config.profile = ""

    # The frozen CLIP whose space everything is tied to.  A data set that was embedded with another
    # one is refused.
    config.clip = ml_collections.ConfigDict()
    config.clip.id = "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k"
    config.clip.embedding_size = 1280
    # Where targets come from: `shards`, embeddings that are stored there; or `towers`: in every
    # step the CLIP embeds renders, which the shards have to hold, and texts as they are (without
    # prompts; never a thumbnail, of which only an embedding is stored).
    config.targets = "shards"
    # Then: its folder or repository of the hub where that is not `clip.id` itself; `bfloat16` or
    # `float32`; and how many images a chip embeds at once, which bounds its memory.
    config.clip.path = ""
    config.clip.dtype = "bfloat16"
    config.clip.images_at_once = 64

    config.data = ml_collections.ConfigDict()
    # Folder of a prepared data set, or of several and `splits/` over them (needed); the split to
    # train on.
    config.data.root = ""
    config.data.split = "train"
    # Where `root` is in a bucket (`gs://`): a folder on a disk of every host, to which the host
    # copies what it needs before it starts.
    config.data.stage_to = ""
    # 1: a run goes through all records in one random order.  L > 1: the records are cut into L
    # parts, each of which fills its own 1/L of the rows of every batch, in a random order of its
    # own; a host then needs only the parts whose rows it holds.  Batches depend on L, and not on
    # the number of hosts; L has to divide the batch.
    config.data.parts = 1
    # Points a cloud.
    config.data.num_points = 10_000
    # Views a sample (M), and with which probability the first is the thumbnail, if there is one.
    config.data.num_views = 4
    config.data.thumbnail_probability = 0.5
    # A new order in every epoch, or the first epoch's again and again.
    config.data.reshuffle = True
    # Hard negatives: more than 1 fills batches with groups of so many shapes, one at random and
    # others of its nearest neighbours (`python -m data_prep.splits --neighbors`).
    config.data.neighbor_group = 1
    # Threads that read and decode.
    config.data.num_threads = 4
    # Control experiment: every shape gets the views and texts of another one.
    config.data.shuffle_targets = False

    # Augmentation of the clouds; see `mixcon3d_jax.data.augment.AugmentConfig`.
    config.augment = ml_collections.ConfigDict()
    config.augment.enabled = True
    config.augment.max_dropout = 0.875
    config.augment.min_scale = 0.8
    config.augment.max_scale = 1.25
    config.augment.max_shift = 0.1
    config.augment.angle_sigma = 0.06
    config.augment.max_angle = 0.18
    config.augment.rotate_z = True
    config.augment.grey_probability = 0.5

    config.model = ml_collections.ConfigDict()
    # PointBERT's dimensions by name, 1 to 6 (`mixcon3d_jax.models.pointbert.SCALINGS`) ...
    config.model.scaling = 3
    # ... and, where set, a dimension of one's own instead of the scaling's.
    config.model.encoder = ml_collections.ConfigDict()
    config.model.encoder.dim = placeholder(int)
    config.model.encoder.depth = placeholder(int)
    config.model.encoder.heads = placeholder(int)
    config.model.encoder.mlp_dim = placeholder(int)
    config.model.encoder.sa_dim = placeholder(int)
    config.model.encoder.patches = placeholder(int)
    config.model.encoder.radius = placeholder(float)
    config.model.encoder.neighbors = placeholder(int)
    # Images go through the texts' projection.
    config.model.share_proj = True
    # `linear`, or `mlp`: projections and fusion head of two layers.
    config.model.head = "linear"
    # `avg`, `max`, `avg_proj` or `max_proj`: how projected views become one embedding.
    config.model.view_pooling = "avg"
    # Of the encoder's products: `float32` or `bfloat16`.
    config.model.dtype = "float32"
    # Rematerialisation: the backward pass computes transformer blocks and the groups' network anew
    # instead of keeping what they computed.  Less memory, the same numbers, a third more work.
    config.model.remat = False

    # Weights of the four contrastive terms (paper, equation 4).
    config.loss = ml_collections.ConfigDict()
    config.loss.point_text = 1 / 3
    config.loss.point_image = 1 / 3
    config.loss.image_text = 1 / 3
    config.loss.fused_text = 1.0

    config.optim = ml_collections.ConfigDict()
    config.optim.batch_size = 2048  # global
    # Micro-batches that a batch is computed in, for less memory; they must divide the rows that a
    # device has of it.  Loss and gradient are still those of the whole batch.  BatchNorm normalises
    # each micro-batch with its own statistics over all devices; the running ones are updated once a
    # step, with the micro-batches' mean.
    config.optim.accum_steps = 1
    # How the loss meets the other devices' rows: `gather` holds local x global logits on each
    # device, `ring` passes the rows on from device to device and holds a block at a time, of
    # `logit_block` x local logits.  The same numbers but for rounding.
    config.optim.negatives = "gather"
    config.optim.logit_block = 1024
    # BatchNorm uses its running statistics in training, too, and keeps them: for fine-tuning.
    config.optim.frozen_statistics = False
    config.optim.epochs = 200.0
    config.optim.warmup_epochs = 10.0
    # The paper's rate, 1e-3 for every 256 of the batch: it follows the batch size until it is set.
    config.optim.learning_rate = config.optim.get_ref("batch_size").to_float() * (1e-3 / 256)
    config.optim.min_learning_rate = 0.0
    # Steps that the schedule comes late.
    config.optim.lag_steps = 0
    # A regular expression: parameters whose path it matches stay as they are, as in `fusion/.*`.
    config.optim.frozen = ""
    # A regular expression: temperatures (`point_text`, `point_image`, `image_text`, `fused_text`)
    # that are kept from making cosines more than 100 times as large.
    config.optim.clamped = ".*"
    config.optim.beta1 = 0.9
    config.optim.beta2 = 0.999
    config.optim.epsilon = 1e-8
    config.optim.weight_decay = 0.01
    # Share of the old average that a step keeps, of weights and running statistics.
    config.optim.ema_decay = 0.9995

    # The processes of a run, one a host.  A TPU pod knows them by itself; elsewhere each process is
    # told the address of process 0 (`HOST:PORT`), how many there are and which it is, here or by
    # JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.  Nothing said is one process.
    config.distributed = ml_collections.ConfigDict()
    config.distributed.coordinator = ""
    config.distributed.num_processes = 0
    config.distributed.process_id = -1
    # How long a start waits for all processes; after how long without a sign of life of one of them
    # the others end.
    config.distributed.timeout_seconds = 300.0
    config.distributed.heartbeat_seconds = 100

    # Sizes of the mesh axes; -1 takes the devices that are left.  `replica`: slices of a pod, or a
    # multiple of their number.  `data`: chips that split the batch.  `fsdp`: chips that split batch
    # and parameters.
    config.mesh = ml_collections.ConfigDict()
    config.mesh.replica = 1
    config.mesh.data = -1
    config.mesh.fsdp = 1

    # The end of a run is always saved, reported and evaluated; every so many steps (0: never) the
    # run before it.
    config.checkpoint = ml_collections.ConfigDict()
    config.checkpoint.every_steps = 1000
    # The newest so many are kept, and those of every so many steps (0: none).
    config.checkpoint.keep = 3
    config.checkpoint.keep_every = 0
    # A figure of the evaluations, as `ema/modelnet40/point/top1`: the weights that have it highest
    # are kept in `WORKDIR/best`, too.  It was then chosen by that benchmark and flatters.
    config.checkpoint.best_by = ""

    config.log = ml_collections.ConfigDict()
    config.log.every_steps = 20
    # `disabled`, `offline` or `online`.
    config.log.wandb = "disabled"
    config.log.wandb_project = "mixcon3d_jax"

    config.eval = ml_collections.ConfigDict()
    config.eval.every_steps = 0
    config.eval.batch_size = 256  # global
    # Views a shape, which (`random` with replacement, or `spread`: distinct ones, evenly spaced),
    # and whether the thumbnail is the first of them.
    config.eval.num_views = 4
    config.eval.view_choice = "random"
    config.eval.thumbnail = False
    config.eval.seed = 0
    # More than 1: means and standard deviations over so many seeds, from `seed` on.
    config.eval.num_seeds = 1
    # Benchmarks of which retrieval is measured beside zero-shot accuracy (texts and pictures that
    # look for shapes, shapes that look for texts): names with commas between them, or `all`.  One
    # whose shapes have no classes may be measured by retrieval alone.
    config.eval.retrieval = ""
    # Name -> entry; see `benchmark` below.
    config.eval.benchmarks = ml_collections.ConfigDict()
    return config.lock()


def benchmark(
    split: str, *, path: str = "", among: str = "all", required: bool = True
) -> ml_collections.ConfigDict:
    """An entry of `config.eval.benchmarks`.

    Args:
      split: whose shapes are classified, or found.
      path: the data set's folder, relative to `config.data.root`.
      among: the names to choose among: `all` of the data set's classes, or those `present` in the
        split.
      required: whether a data set without that split is an error; else it is said and skipped.
    """
    return ml_collections.ConfigDict(
        {"split": split, "path": path, "among": among, "required": required}
    )
