# shellcheck shell=bash
# The TPU as gcloud shows it: its nodes (one a slice), their states, commands on their workers.
# Sourced after env.sh and commands.sh.

# check_tpu_settings: what every script needs.
check_tpu_settings() {
  need PROJECT_ID ZONE TPU_NAME WORKER_DIR
  need_number NUM_SLICES
  case $PROVISIONING in
    on-demand | spot | queued | queued-spot) ;;
    *)
      fail "PROVISIONING is '$PROVISIONING'; it has to be on-demand, spot, queued or queued-spot"
      ;;
  esac
  case $WORKER_DIR in
    *[!A-Za-z0-9_.-]* | .*)
      fail "WORKER_DIR is '$WORKER_DIR'; it has to be the name of a folder under the home folder"
      ;;
  esac
  [ "$DRY_RUN" = yes ] || command -v gcloud >/dev/null ||
    fail "there is no gcloud on PATH; see https://cloud.google.com/sdk/docs/install"
}

# uses_queue: whether the TPU is a queued resource.
uses_queue() {
  [ "$NUM_SLICES" -gt 1 ] || [ "${PROVISIONING#queued}" != "$PROVISIONING" ]
}

# node_names: one a line.
node_names() {
  local slice
  if [ "$NUM_SLICES" -eq 1 ]; then
    printf '%s\n' "$TPU_NAME"
    return
  fi
  for ((slice = 0; slice < NUM_SLICES; slice++)); do
    printf '%s-%s\n' "$TPU_NAME" "$slice"
  done
}

# tpu_vm VERB ARGUMENT... / queued_resources VERB ARGUMENT...: run or printed.
tpu_vm() {
  run gcloud compute tpus tpu-vm "$@" "--zone=$ZONE" "--project=$PROJECT_ID"
}

queued_resources() {
  run gcloud compute tpus queued-resources "$@" "--zone=$ZONE" "--project=$PROJECT_ID"
}

# described COMMAND...: its output; ABSENT for what doesn't exist, UNREACHABLE if gcloud can't say.
described() {
  local errors output
  errors=$(mktemp)
  if output=$("$@" 2>"$errors"); then
    printf '%s\n' "${output:-UNKNOWN}"
  elif grep -q -i -e 'NOT_FOUND' -e 'was not found' "$errors"; then
    printf 'ABSENT\n'
  else
    cat "$errors" >&2
    printf 'UNREACHABLE\n'
  fi
  rm -f "$errors"
}

# look_at_tpu: leaves what there is in
#   QUEUE_STATE  gcloud's word for the queued resource, if it is one
#   NODES        a line a node: name, gcloud's word for it, how many workers it has
#   WORKERS      how many workers there are in all
#   TPU_STATE    of all together:
#     ABSENT       doesn't exist
#     UNREACHABLE  gcloud can't say
#     WAITING      on its way: in the queue, being made, being repaired
#     READY        every node is
#     STOPPED      somebody stopped it
#     LOST         preempted, ended or failed; has to be deleted and made again
look_at_tpu() {
  local count found=' ' node state
  QUEUE_STATE='' NODES='' WORKERS=0 TPU_STATE=''
  if uses_queue; then
    QUEUE_STATE=$(described queued_resources describe "$TPU_NAME" '--format=value(state.state)')
    case $QUEUE_STATE in
      ACTIVE) ;;
      ABSENT | UNREACHABLE) TPU_STATE=$QUEUE_STATE ;;
      SUSPENDED | FAILED) TPU_STATE=LOST ;;
      *) TPU_STATE=WAITING ;;
    esac
    [ -z "$TPU_STATE" ] || return 0
  fi
  for node in $(node_names); do
    read -r state count <<<"$(
      described tpu_vm describe "$node" '--format=value(state,networkEndpoints.len())'
    )"
    NODES="$NODES$node $state ${count:-0}"$'\n'
    WORKERS=$((WORKERS + ${count:-0}))
    case $state in
      READY | UNREACHABLE) ;;
      PREEMPTED | TERMINATED | UNKNOWN) state=LOST ;;
      STOPPED | STOPPING | HIDDEN | HIDING) state=STOPPED ;;
      # A node that is gone while its queued resource is not was taken away.
      ABSENT) if uses_queue; then state=LOST; fi ;;
      *) state=WAITING ;;
    esac
    found="$found$state "
  done
  for state in LOST UNREACHABLE STOPPED WAITING ABSENT READY; do
    case $found in
      *" $state "*)
        TPU_STATE=$state
        return 0
        ;;
    esac
  done
}

# need_ready: for scripts that reach the workers.
need_ready() {
  [ "$DRY_RUN" = no ] || return 0
  look_at_tpu
  case $TPU_STATE in
    READY) ;;
    ABSENT) fail "there is no TPU $TPU_NAME in $ZONE; make it with create.sh" ;;
    LOST) fail "the TPU $TPU_NAME was taken away; delete it with delete.sh and make it again" ;;
    *) fail "the TPU $TPU_NAME is $TPU_STATE, not READY; see status.sh" ;;
  esac
}

# on_nodes FUNCTION ARGUMENT...: calls it with each node in front of the arguments, all at once.
# Prints NODE, a tab and a line for each line that it prints.  Fails if one of them does.
on_nodes() {
  local function=$1 job jobs=() node status=0
  shift
  for node in $(node_names); do
    if [ "$DRY_RUN" = yes ]; then
      "$function" "$node" "$@"
      continue
    fi
    {
      "$function" "$node" "$@" </dev/null | while IFS= read -r line || [ -n "$line" ]; do
        printf '%s\t%s\n' "$node" "$line"
      done
    } &
    jobs+=("$!")
  done
  for job in ${jobs[@]+"${jobs[@]}"}; do
    wait "$job" || status=1
  done
  return "$status"
}

# ssh_to NODE WORKERS COMMAND: runs it on a worker, or on `all`.
ssh_to() {
  # shellcheck disable=SC2086  # SSH_FLAGS are split at spaces
  tpu_vm ssh "$1" "--worker=$2" "--command=$3" $SSH_FLAGS
}

# copy_to NODE FILE NAME: copies it into the home folder of every worker.
copy_to() {
  # shellcheck disable=SC2086
  tpu_vm scp "$2" "$1:$3" --worker=all $SSH_FLAGS
}

# on_all_workers COMMAND: on every worker of every node; lines as from on_nodes.
on_all_workers() {
  on_nodes ssh_to all "$1"
}

# with_slices: lines of on_nodes for people: the node's name only where there are several.
with_slices() {
  local node line
  if [ "$DRY_RUN" = yes ]; then
    cat
    return
  fi
  while IFS=$'\t' read -r node line; do
    if [ "$NUM_SLICES" -gt 1 ]; then
      printf '%s, ' "$node"
    fi
    printf '%s\n' "$line"
  done
}
