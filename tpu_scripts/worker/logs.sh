#!/usr/bin/env bash
# Prints the end of a run's log on this worker, every line with the worker's number:
#   logs.sh RUN LINES
set -euo pipefail
cd "$(dirname "$0")/.."
. worker/process.sh
log=$LOGS/$1/train.log

if [ ! -e "$log" ]; then
  say "there is no log of $1"
  exit 0
fi
name=$(worker_name)
# Of a progress bar only what it showed last.
tail -n "$2" "$log" | sed -e 's/\r$//' -e 's/.*\r//' -e "s/^/worker $name| /"
