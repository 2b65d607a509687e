#!/usr/bin/env bash
# Makes the TPU that env.sh describes and waits until it is there: from here on it costs money.
#
#   create.sh [--dry-run]
#
# Exit status: 0 it is READY (or was already), 75 the zone has none at the moment, 2 bad input, 1
# any other failure.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/env.sh"
. "$here/lib/commands.sh"
. "$here/lib/tpu.sh"

take_common_options "$@"
no_arguments
check_tpu_settings
need ACCELERATOR_TYPE RUNTIME_VERSION
need_seconds CREATE_SECONDS

# One slice at once, or an error.
create_node() {
  local spot=()
  [ "$PROVISIONING" = on-demand ] || spot=(--spot)
  # shellcheck disable=SC2086  # CREATE_FLAGS are split at spaces
  tpu_vm create "$TPU_NAME" "--accelerator-type=$ACCELERATOR_TYPE" \
    "--version=$RUNTIME_VERSION" ${spot[@]+"${spot[@]}"} $CREATE_FLAGS
}

# A place in the queue.
create_queued_resource() {
  local nodes=("--node-id=$TPU_NAME") spot=()
  if [ "$NUM_SLICES" -gt 1 ]; then
    nodes=("--node-count=$NUM_SLICES" "--node-prefix=$TPU_NAME")
  fi
  case $PROVISIONING in *spot) spot=(--spot) ;; esac
  # shellcheck disable=SC2086
  queued_resources create "$TPU_NAME" "--accelerator-type=$ACCELERATOR_TYPE" \
    "--runtime-version=$RUNTIME_VERSION" "${nodes[@]}" ${spot[@]+"${spot[@]}"} --async $CREATE_FLAGS
}

# create: shows what gcloud says, and tells a zone without capacity from other failures.
create() {
  local errors kind=create_node status=0
  ! uses_queue || kind=create_queued_resource
  if [ "$DRY_RUN" = yes ]; then
    "$kind"
    return
  fi
  errors=$(mktemp)
  { "$kind" 2>&1 >&3 </dev/null | tee "$errors" >&2; } 3>&1 || status=1
  if [ "$status" -ne 0 ] && grep -q -i -e capacity -e stockout "$errors" &&
    ! grep -q -i quota "$errors"; then
    status=75
  fi
  rm -f "$errors"
  return "$status"
}

# wait_until_ready: as long as it takes; the request stays in the queue when this is interrupted.
wait_until_ready() {
  local said=''
  while :; do
    look_at_tpu
    if [ "$TPU_STATE" != "$said" ]; then
      note "$(date '+%Y-%m-%d %H:%M:%S') $TPU_NAME is $TPU_STATE"
      said=$TPU_STATE
    fi
    case $TPU_STATE in
      READY) return 0 ;;
      ABSENT) fail "$TPU_NAME was deleted while it was awaited" ;;
      STOPPED) fail "$TPU_NAME was stopped; start it, or delete it with delete.sh" ;;
      LOST) return 75 ;;
    esac
    sleep "$CREATE_SECONDS"
  done
}

if [ "$DRY_RUN" = yes ]; then
  create
  exit 0
fi
look_at_tpu
case $TPU_STATE in
  ABSENT) create ;;
  READY)
    note "$TPU_NAME is there and READY"
    exit 0
    ;;
  WAITING) note "$TPU_NAME was asked for already" ;;
  LOST) fail "$TPU_NAME was taken away; delete it with delete.sh first" ;;
  STOPPED) fail "$TPU_NAME was stopped; start it, or delete it with delete.sh" ;;
  UNREACHABLE) exit 1 ;;
esac
wait_until_ready
