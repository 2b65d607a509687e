#!/usr/bin/env bash
# Shows the end of the run's logs.
#
#   logs.sh [--lines=N]                                      of every worker; 20 lines
#   logs.sh --worker=N [--slice=N] [--lines=N] [--follow]    of one; --follow: as it grows
#
# --dry-run prints the commands.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/env.sh"
. "$here/lib/commands.sh"
. "$here/lib/tpu.sh"
. "$here/lib/run.sh"

take_common_options "$@"
lines=20 workers=all worker=0 slice=0 follow=no
for argument in ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}; do
  value=${argument#*=}
  case $argument in
    --follow) follow=yes workers=one ;;
    --lines=*) lines=$value ;;
    --worker=*) worker=$value workers=one ;;
    --slice=*) slice=$value workers=one ;;
    *) fail "logs.sh has no option '$argument' (see --help)" ;;
  esac
done
for value in "$lines" "$worker" "$slice"; do
  case $value in
    '' | *[!0-9]*) fail "'$value' has to be a whole number (see --help)" ;;
  esac
done
check_tpu_settings
set_run
node=$(node_names | sed -n "$((slice + 1))p")
[ -n "$node" ] || fail "--slice=$slice: slices are counted from 0, and NUM_SLICES is $NUM_SLICES"
need_ready

if [ "$workers" = all ]; then
  on_all_workers "$(worker_command logs.sh "$RUN" "$lines")" | with_slices
elif [ "$follow" = no ]; then
  ssh_to "$node" "$worker" "$(worker_command logs.sh "$RUN" "$lines")" </dev/null
else
  ssh_to "$node" "$worker" "$(quoted tail -n "$lines" -F "mixcon3d_logs/$RUN/train.log")" </dev/null
fi
