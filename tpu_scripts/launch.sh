#!/usr/bin/env bash
# Starts the training on every worker, in the background; it goes on when you log out.
#
#   launch.sh [--dry-run] [--config.KEY=VALUE ...] [-- FLAG ...]
#
# Every worker runs `python -m mixcon3d_jax.train --config=CONFIG --workdir=WORKDIR` and the flags,
# with its log in ~/mixcon3d_logs/RUN/train.log.  A workdir that holds a checkpoint is continued.
# Nothing is started while a run is running.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/env.sh"
. "$here/lib/commands.sh"
. "$here/lib/tpu.sh"
. "$here/lib/run.sh"

take_common_options "$@"
flags=()
verbatim=no
for argument in ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}; do
  case $verbatim$argument in
    no--) verbatim=yes ;;
    no--config.*=* | yes*) flags+=("$argument") ;;
    *) fail "launch.sh has no option '$argument'; flags of the training are --config.KEY=VALUE, \
or anything after -- (see --help)" ;;
  esac
done
check_tpu_settings
need CONFIG WORKDIR
case $WORKDIR in
  /* | *://*) ;;
  *) fail "WORKDIR is '$WORKDIR', which would lie in the workers' checkout, and setup.sh replaces \
that; say gs://BUCKET/FOLDER, or a path from / on" ;;
esac
set_run

# need_idle: every worker answers, is set up, and runs nothing.
need_idle() {
  local answers node states worker state _
  [ "$DRY_RUN" = no ] || return 0
  states=$(worker_states)
  answers=$(printf '%s\n' "$states" | grep -c . || true)
  [ "$answers" -eq "$WORKERS" ] ||
    fail "$answers of $WORKERS workers answer; nothing was launched"
  while IFS=$'\t' read -r node worker state _; do
    case $state in
      not-set-up) fail "worker $worker of $node isn't set up; run setup.sh first" ;;
      running) fail "$RUN is running on worker $worker of $node; see status.sh, or stop it with \
stop.sh" ;;
    esac
  done <<<"$states"
}

# hand_over_variables: PASS_VARIABLES in a file that only their owner can read; the run deletes it.
hand_over_variables() {
  local file=$1 name names=()
  for name in $PASS_VARIABLES; do
    case $name in
      [0-9]* | *[!A-Za-z0-9_]*) fail "PASS_VARIABLES has '$name', which is no variable's name" ;;
    esac
    [ -z "${!name+set}" ] || names+=("$name")
  done
  [ ${#names[@]} -gt 0 ] || return 0
  if [ "$DRY_RUN" = yes ]; then
    printf '(umask 077 && declare -p %s >%s)\n' "${names[*]}" "$(quoted "$file")"
  else
    export "${names[@]?}"
    (umask 077 && declare -p "${names[@]}" >"$file")
  fi
  on_nodes copy_to "$file" "$WORKER_DIR/variables.$RUN" | with_slices
  run rm "$file"
}

need_ready
need_idle
folder=${TMPDIR:-/tmp}
if [ "$DRY_RUN" = no ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
fi
hand_over_variables "$folder/variables.$RUN"
command=$(worker_command launch.sh "$RUN" mixcon3d_jax.train "--config=$CONFIG" \
  "--workdir=$WORKDIR" ${flags[@]+"${flags[@]}"})
if ! on_all_workers "$command" | with_slices; then
  on_all_workers "rm -f $WORKER_DIR/variables.$RUN" >/dev/null 2>&1 || true
  note "error: not every worker was launched; stop.sh ends what was"
  exit 1
fi
