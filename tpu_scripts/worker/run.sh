#!/usr/bin/env bash
# Stands over the program of a run, started by launch.sh in a session of its own:
#   run.sh RUN MODULE ARGUMENT...
# Records the two processes and, in the end, the program's exit status.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. worker/process.sh
root=$PWD
run=$1
shift
folder=$LOGS/$run

# The signal that ends the machine reaches this process, too; it has to see the program's end.
trap : TERM INT HUP

variables=$root/variables.$run
if [ -e "$variables" ]; then
  # shellcheck disable=SC1090
  . "$variables"
  rm -f "$variables"
fi

printf 'wrapper %s\n' "$(identity $$)" >"$folder/processes"
cd checkout || exit 1
export PYTHONUNBUFFERED=1
"$root/venv/bin/python" -m "$@" &
program=$!
printf 'program %s\n' "$(identity "$program")" >>"$folder/processes"

# A signal ends `wait`, not the program.
wait "$program"
status=$?
while kill -0 "$program" 2>/dev/null; do
  wait "$program"
  status=$?
done
# It may have ended in the very moment of the signal; then its status is still to be had.
wait "$program" 2>/dev/null
again=$?
[ "$again" -eq 127 ] || status=$again

printf '%s\n' "$status" >"$folder/exit_status.new"
mv "$folder/exit_status.new" "$folder/exit_status"
printf '=== %s: exit status %s ===\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$status"
# What the program left behind of its own processes, and this one.
kill -KILL 0
