#!/usr/bin/env bash
# Keeps a run going until it is finished: makes the TPU if there is none, sets it up, launches, and
# watches.  A TPU that was taken away is deleted and made again, a run that was preempted or crashed
# is launched again; WORKDIR stays the same, so it continues from its newest checkpoint.
#
#   supervise.sh [--dry-run] [--config.KEY=VALUE ...] [-- FLAG ...]     flags as for launch.sh
#
# Ends with status 0 when the run is finished, 2 when its input is bad (the log is shown), 1 when it
# failed MAX_FAILURES times in a row without a newer checkpoint, or the TPU was deleted or stopped
# by somebody else.  Interrupted, it leaves the run running; started again, it goes on watching it.
# It never deletes the TPU of a finished run: delete.sh does.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/env.sh"
. "$here/lib/commands.sh"
. "$here/lib/tpu.sh"
. "$here/lib/run.sh"

take_common_options "$@"
flags=(${ARGUMENTS[@]+"${ARGUMENTS[@]}"})
check_tpu_settings
need CONFIG WORKDIR
need_number MAX_FAILURES
need_seconds WATCH_SECONDS PEER_SECONDS RELAUNCH_SECONDS CREATE_SECONDS GRACE_SECONDS
set_run

if [ "$DRY_RUN" = yes ]; then
  "$here/create.sh" --dry-run
  "$here/setup.sh" --dry-run
  "$here/launch.sh" --dry-run ${flags[@]+"${flags[@]}"}
  "$here/status.sh" --dry-run
  exit 0
fi

log() {
  printf '%s %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$*"
}

# pause SECONDS: a signal to this script ends it at once.
pause() {
  sleep "$1" &
  wait $!
}

give_up() {
  log "$*"
  exit 1
}

# Flags that launch.sh would refuse are refused before anything is paid for.
"$here/launch.sh" --dry-run ${flags[@]+"${flags[@]}"} >/dev/null

trap 'log "interrupted; the run and the TPU stay as they are"; exit 130' INT TERM

failures=0
failed_at=-2 # the newest step at the last failure

# count_failure WHAT: gives up at the last of MAX_FAILURES without a newer checkpoint in between.
count_failure() {
  local step
  step=$(newest_step)
  if [ "$step" -gt "$failed_at" ]; then
    failures=0
    failed_at=$step
  fi
  failures=$((failures + 1))
  log "$1; failure $failures of $MAX_FAILURES without a newer checkpoint (newest: $step)"
  if [ "$failures" -ge "$MAX_FAILURES" ]; then
    show_logs
    give_up "giving up after $failures failures in a row"
  fi
}

show_logs() {
  "$here/logs.sh" --lines=30 || true
}

# create_tpu: until there is one.  Only failures other than a lack of capacity are counted.
creations_failed=0
create_tpu() {
  local status=0
  log "making the TPU $TPU_NAME ($ACCELERATOR_TYPE, $NUM_SLICES slices, $PROVISIONING)"
  "$here/create.sh" || status=$?
  case $status in
    0)
      creations_failed=0
      log "$TPU_NAME is READY"
      ;;
    2) give_up "create.sh refuses its input" ;;
    75)
      log "there is no capacity at the moment; trying again in $CREATE_SECONDS s"
      pause "$CREATE_SECONDS"
      ;;
    *)
      creations_failed=$((creations_failed + 1))
      [ "$creations_failed" -lt "$MAX_FAILURES" ] ||
        give_up "giving up after $creations_failed failed attempts to make the TPU"
      log "that failed; trying again in $CREATE_SECONDS s"
      pause "$CREATE_SECONDS"
      ;;
  esac
}

# start: sets up if asked to, and launches.
start() {
  if [ "$1" = set-up ]; then
    log "setting up the workers"
    "$here/setup.sh" || return 1
  fi
  log "launching $RUN, workdir $WORKDIR"
  "$here/launch.sh" ${flags[@]+"${flags[@]}"}
}

stop_all() {
  GRACE_SECONDS=$GRACE_SECONDS "$here/stop.sh" || log "stop.sh could not reach every worker"
}

# first_line STATES: what the first worker's log ends with.
first_line() {
  printf '%s\n' "$1" | head -n 1 | cut -f 6
}

# look: one look at a TPU that is READY; what to do next is left in `next`.
look() {
  local states found
  states=$(worker_states 2>/dev/null || true)
  found=$(outcome "$states")
  if [ "$next" = set-up ] || [ "$next" = launch ]; then
    # Not launched by this supervisor yet: what runs already is watched, not launched again.
    case $found in
      running | partial)
        log "$RUN is running already"
        next=watch
        ;;
      unanswered) log "not every worker answers; waiting" ;;
      *)
        if start "$next"; then
          next=watch
        else
          stop_all
          count_failure "set-up or launch failed"
          next=set-up
        fi
        ;;
    esac
    return
  fi
  case $found in
    running) log "running: $(first_line "$states")" ;;
    unanswered) log "not every worker answers; the run may be going on, so nothing is done" ;;
    partial)
      log "ended on some workers only: $(by_worker "$states")"
      pause "$PEER_SECONDS"
      if [ "$(outcome "$(worker_states 2>/dev/null || true)")" = partial ]; then
        # Without the one that ended they can't save a common checkpoint: no long grace.
        log "stopping the others"
        GRACE_SECONDS=$PEER_SECONDS stop_all
      fi
      ;;
    finished)
      log "$RUN is finished; the TPU is still there and costs money (delete.sh)"
      exit 0
      ;;
    bad-input)
      show_logs
      log "$RUN stopped because of its input; launching it again would not help"
      exit 2
      ;;
    preempted | crashed)
      log "$found: $(by_worker "$states")"
      # A TPU that is taken away says so a little later than its workers.
      pause "$RELAUNCH_SECONDS"
      look_at_tpu
      if [ "$TPU_STATE" = READY ]; then
        count_failure "$RUN ended early"
        next=launch
      fi
      ;;
  esac
}

next=set-up
seen=no
while :; do
  look_at_tpu
  case $TPU_STATE in
    READY)
      seen=yes
      look
      [ "$next" = launch ] || pause "$WATCH_SECONDS"
      continue
      ;;
    ABSENT)
      [ "$seen" = no ] || give_up "somebody deleted $TPU_NAME; it is not made again"
      create_tpu
      ;;
    LOST)
      log "$TPU_NAME was taken away; deleting what is left of it"
      if "$here/delete.sh" --yes; then
        seen=no next=set-up
      else
        log "that failed; trying again in $CREATE_SECONDS s"
        pause "$CREATE_SECONDS"
      fi
      ;;
    STOPPED) give_up "somebody stopped $TPU_NAME; start it or delete it, then supervise again" ;;
    *)
      log "$TPU_NAME is $TPU_STATE; waiting"
      pause "$WATCH_SECONDS"
      ;;
  esac
done
