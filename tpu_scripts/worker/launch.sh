#!/usr/bin/env bash
# Starts a run in the background, unless one is running:
#   launch.sh RUN MODULE ARGUMENT...
set -euo pipefail
cd "$(dirname "$0")/.."
. worker/process.sh
run=$1
shift
folder=$LOGS/$run
trap 'rm -f "variables.$run"' EXIT

mkdir -p "$folder"
exec 9>"$LOGS/.lock"
flock 9
running=$(running_runs)
if [ -n "$running" ]; then
  say "$running is running; stop it first" >&2
  exit 3
fi
if [ ! -e venv/.ready ]; then
  say "nothing is set up; run setup.sh first" >&2
  exit 4
fi

rm -f "$folder/exit_status" "$folder/processes"
printf '=== %s: python -m %s ===\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$*" >>"$folder/train.log"
setsid nohup bash worker/run.sh "$run" "$@" >>"$folder/train.log" 2>&1 </dev/null 9>&- &
disown

for _ in {1..600}; do
  if grep -q '^program ' "$folder/processes" 2>/dev/null || [ -e "$folder/exit_status" ]; then
    say "launched; log in ~/mixcon3d_logs/$run/train.log"
    exit 0
  fi
  sleep 0.1
done
say "the run did not start; see ~/mixcon3d_logs/$run/train.log" >&2
exit 5
