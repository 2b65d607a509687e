# shellcheck shell=bash disable=SC2034  # the scripts that source this use the variables
#
# What every script needs to know.  A variable that is set in the environment wins over the line
# here: change the lines, or say `TPU_NAME=other tpu_scripts/status.sh`.

# --- the TPU -------------------------------------------------------------------------------------

# Google Cloud project that is billed.  Needed.
: "${PROJECT_ID:=}"
# Zone that has the accelerator.
: "${ZONE:=us-central2-b}"
# Name of the TPU; of several slices, what their names begin with (NAME-0, NAME-1, ...).
: "${TPU_NAME:=mixcon3d}"
# Of one slice.
: "${ACCELERATOR_TYPE:=v4-32}"
# tpu-ubuntu2204-base (v4), v2-alpha-tpuv5-lite (v5e), v2-alpha-tpuv5 (v5p), v2-alpha-tpuv6e (v6e).
: "${RUNTIME_VERSION:=tpu-ubuntu2204-base}"
# Slices, each of that type, joined by the data-centre network.  Several are always asked for as a
# queued resource.
: "${NUM_SLICES:=1}"
# on-demand    now, or an error that says there is none
# spot         cheaper, taken away at any time
# queued       waits in the queue until there is one
# queued-spot  the same for spot
: "${PROVISIONING:=on-demand}"
# Further flags, split at spaces: of what creates the TPU (as "--network=mine --internal-ips"), and
# of `gcloud compute tpus tpu-vm ssh` and `scp` (as "--internal-ip").
: "${CREATE_FLAGS:=}"
: "${SSH_FLAGS:=}"

# --- what the workers run ------------------------------------------------------------------------

# `local`: the files of this checkout, as they are now, without what git ignores.  Or the address
# of a git repository that the workers can clone, and the branch, tag or commit of it.
: "${REPO:=local}"
: "${REF:=main}"
# Extras of setup.py that the workers install.
: "${EXTRAS:=tpu,gcs}"
# The interpreter on the workers; empty: the newest of 3.11 to 3.13 that they have, else
# PYTHON_VERSION, which uv fetches.
: "${PYTHON:=}"
: "${PYTHON_VERSION:=3.12}"
# Folder on the workers, under the home folder, for checkout and environment.
: "${WORKER_DIR:=mixcon3d_tpu}"
# Config file, relative to the checkout.  Needed to launch.
: "${CONFIG:=}"
# Where checkpoints, metrics and figures go: gs://BUCKET/FOLDER, since hosts share nothing but a
# bucket; on one host, or on a disk that all have mounted, a path from / on.  Needed to launch.
: "${WORKDIR:=}"
# Name of the run's folder under ~/mixcon3d_logs on every worker; empty: the last part of WORKDIR.
: "${RUN:=}"
# Variables that the training gets with the values that they have here, if they are set.  Values go
# to the workers in a file that only you can read, never on a command line or into a log.
: "${PASS_VARIABLES:=WANDB_API_KEY HF_TOKEN}"

# --- patience, in seconds ------------------------------------------------------------------------

# stop.sh: for the checkpoint, before the processes are killed.
: "${GRACE_SECONDS:=600}"
# supervise.sh: between two looks at the TPU and the workers.
: "${WATCH_SECONDS:=60}"
# supervise.sh: from the end of one worker to stopping the others, which may be about to end, too.
: "${PEER_SECONDS:=120}"
# supervise.sh: from the end of a run to its relaunch.  A TPU that is taken away says so by then.
: "${RELAUNCH_SECONDS:=45}"
# create.sh: between two looks at the queue.  supervise.sh: before it asks for a TPU again.
: "${CREATE_SECONDS:=60}"
# supervise.sh gives up after so many failures in a row without a newer checkpoint.
: "${MAX_FAILURES:=5}"
