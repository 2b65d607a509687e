#!/usr/bin/env bash
# Ends the run on every worker, and nothing else that runs there: SIGTERM, on which the training
# saves a checkpoint; SIGKILL to what has not ended GRACE_SECONDS later.
#
#   stop.sh [--dry-run]
#
# The TPU stays, and costs what it costs: delete.sh deletes it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/env.sh"
. "$here/lib/commands.sh"
. "$here/lib/tpu.sh"
. "$here/lib/run.sh"

take_common_options "$@"
no_arguments
check_tpu_settings
need_seconds GRACE_SECONDS
set_run
need_ready
on_all_workers "[ ! -e $WORKER_DIR/worker/stop.sh ] || $(
  worker_command stop.sh "$RUN" "$GRACE_SECONDS"
)" | with_slices
