#!/usr/bin/env bash
# Prints what a run is doing on this worker, in one line of five fields, tabs between:
#   status.sh RUN
# worker; not-launched, running, finished, bad-input, preempted, crashed or lost (it ended without
# saying how: killed, or the machine was started anew); exit status; since when; last log line.
set -euo pipefail
cd "$(dirname "$0")/.."
. worker/process.sh
run=$1
folder=$LOGS/$run

# last_line: progress bars end their lines with a carriage return; a tab would be a field's end.
last_line() {
  tail -c 8192 "$folder/train.log" 2>/dev/null | tr '\r\t' '\n ' | grep -v -e '^ *$' -e '^=== ' |
    tail -n 1 | cut -c 1-300
}

# is_ended: whether it has said how it ended; sets the fields that follow from that.
is_ended() {
  [ -e "$folder/exit_status" ] || return 1
  status=$(cat "$folder/exit_status")
  since=$(date -r "$folder/exit_status" '+%Y-%m-%d %H:%M:%S')
  case $status in
    0) state=finished ;;
    2) state=bad-input ;;
    75) state=preempted ;;
    *) state=crashed ;;
  esac
}

state=not-launched status='-' since='-' line='-'
if [ -e "$folder/train.log" ]; then
  line=$(last_line || true)
  since=$(date -r "$folder/train.log" '+%Y-%m-%d %H:%M:%S')
  if ! is_ended && is_running "$run"; then
    state=running
    since=$(date -r "$folder/processes" '+%Y-%m-%d %H:%M:%S')
  elif ! is_ended; then # looked at again: it may just have ended
    state=lost
  fi
fi
printf '%s\t%s\t%s\t%s\t%s\n' "$(worker_name)" "$state" "$status" "$since" "${line:--}"
