#!/usr/bin/env bash
# Ends a run on this worker, and nothing else:
#   stop.sh RUN GRACE_SECONDS
# SIGTERM goes to the program alone, which saves a checkpoint with the help of its own processes;
# SIGKILL, after the grace period, to all of them.
set -euo pipefail
cd "$(dirname "$0")/.."
. worker/process.sh
run=$1 grace=$2
whole_seconds=${grace%%.*}
folder=$LOGS/$run

if [ ! -e "$folder/processes" ]; then
  say "$run was not launched here"
  exit 0
fi
if ! is_running "$run"; then
  say "$run has ended already"
  exit 0
fi

if program=$(alive "$run" program); then
  kill -TERM "$program" || true
fi
SECONDS=0
while is_running "$run" && [ "$SECONDS" -lt "${whole_seconds:-0}" ]; do
  sleep 0.2
done

if is_running "$run"; then
  # launch.sh gave the wrapper a session of its own, so its number is that of the group.
  group=$(recorded "$run" wrapper)
  kill -KILL -- "-${group%% *}" || true
  while is_running "$run"; do
    sleep 0.1
  done
  [ -e "$folder/exit_status" ] || printf '137\n' >"$folder/exit_status"
  say "$run did not end within $grace s and was killed"
else
  say "$run stopped, exit status $(cat "$folder/exit_status" 2>/dev/null || printf unknown)"
fi
