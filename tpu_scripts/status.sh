#!/usr/bin/env bash
# Shows the TPU, and on every worker the state of the run, its exit status and its last log line.
#
#   status.sh [--dry-run]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/env.sh"
. "$here/lib/commands.sh"
. "$here/lib/tpu.sh"
. "$here/lib/run.sh"

take_common_options "$@"
no_arguments
check_tpu_settings
# The TPU alone can be looked at without a run.
if [ -n "$RUN$WORKDIR" ]; then
  set_run
fi

# meaning STATE STATUS: what a state of worker/status.sh means.
meaning() {
  case $1 in
    finished) printf 'finished' ;;
    bad-input) printf 'stopped by an error in its input (exit status 2): read the log' ;;
    preempted) printf 'preempted (exit status 75): a checkpoint is saved, launch it again' ;;
    crashed) printf 'crashed (exit status %s)' "$2" ;;
    lost) printf 'crashed without a word: killed, or the machine was started anew' ;;
    not-launched) printf 'not launched' ;;
    not-set-up) printf 'not set up' ;;
    *) printf '%s' "$1" ;;
  esac
}

if [ "$DRY_RUN" = yes ]; then
  ! uses_queue || queued_resources describe "$TPU_NAME" '--format=value(state.state)'
  for node in $(node_names); do
    tpu_vm describe "$node" '--format=value(state,networkEndpoints.len())'
  done
  [ -z "$RUN" ] || on_all_workers "$(status_command)"
  exit 0
fi

look_at_tpu
printf 'TPU %s in %s: %s\n' "$TPU_NAME" "$ZONE" "$TPU_STATE"
[ -z "$QUEUE_STATE" ] || printf '  in the queue: %s\n' "$QUEUE_STATE"
while read -r node state count; do
  [ -z "$node" ] || printf '  %s: %s, %s workers\n' "$node" "$state" "$count"
done <<<"$NODES"
if [ "$TPU_STATE" != READY ] || [ -z "$RUN" ]; then
  exit 0
fi

printf 'run %s\n' "$RUN"
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
states=$(worker_states 2>"$errors" || true)
answers=0
while IFS=$'\t' read -r node worker state status since line; do
  [ -n "$node" ] || continue
  answers=$((answers + 1))
  [ "$NUM_SLICES" -eq 1 ] || worker="$worker of $node"
  printf '  worker %s: %s' "$worker" "$(meaning "$state" "$status")"
  [ "$since" = - ] || printf ', since %s' "$since"
  [ "$line" = - ] || printf '\n      %s' "$line"
  printf '\n'
done <<<"$states"
if [ "$answers" -ne "$WORKERS" ]; then
  printf '  %s of %s workers did not answer\n' "$((WORKERS - answers))" "$WORKERS"
  cat "$errors" >&2
fi
