#!/usr/bin/env bash
# Deletes the TPU, with everything on the disks of its workers; asks first.
#
#   delete.sh [--yes] [--dry-run]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/env.sh"
. "$here/lib/commands.sh"
. "$here/lib/tpu.sh"

take_common_options "$@"
sure=no
for argument in ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}; do
  case $argument in
    --yes) sure=yes ;;
    *) fail "delete.sh has no option '$argument' (see --help)" ;;
  esac
done
check_tpu_settings

delete() {
  if uses_queue; then
    queued_resources delete "$TPU_NAME" --force --quiet
  else
    tpu_vm delete "$TPU_NAME" --quiet
  fi
}

if [ "$DRY_RUN" = yes ]; then
  delete
  exit 0
fi
look_at_tpu
case $TPU_STATE in
  UNREACHABLE) fail "gcloud can't say whether there is a TPU $TPU_NAME; nothing was deleted" ;;
  ABSENT)
    # One that was made in another way would go on costing money.
    if uses_queue; then
      node=$(described tpu_vm describe "$TPU_NAME" '--format=value(state)')
      [ "$node" = ABSENT ] ||
        fail "$TPU_NAME is no queued resource, but there is a TPU of that name; set PROVISIONING \
and NUM_SLICES to what they were when it was made"
    fi
    note "there is no TPU $TPU_NAME in $ZONE"
    exit 0
    ;;
esac
if [ "$sure" = no ]; then
  printf 'Delete the TPU %s in %s (%s)?  What is not in a bucket is lost.  [y/N] ' \
    "$TPU_NAME" "$ZONE" "$TPU_STATE" >&2
  read -r answer || answer=''
  case $answer in
    y | Y | yes) ;;
    *)
      note 'nothing was deleted'
      exit 1
      ;;
  esac
fi
delete
