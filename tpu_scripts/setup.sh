#!/usr/bin/env bash
# Brings checkout and Python environment to every worker of the TPU.  Repeat it after a change of
# the code: what is up to date stays as it is.
#
#   setup.sh [--dry-run]
#
# REPO, REF, EXTRAS, PYTHON and PYTHON_VERSION in env.sh say what is brought.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/env.sh"
. "$here/lib/commands.sh"
. "$here/lib/tpu.sh"
. "$here/lib/run.sh"

take_common_options "$@"
no_arguments
check_tpu_settings
need REPO REF PYTHON_VERSION
case $REPO in
  http*://*@*) fail "REPO holds a name or password, which everyone on the workers could read; use \
REPO=local" ;;
esac
need_ready

# pack FOLDER: makes an archive there of the scripts that run on the workers, in worker/, and with
# REPO=local of the checkout's files, in incoming/.
pack() {
  local parts=(worker)
  run mkdir -p "$1/stage/incoming"
  run cp -R "$here/worker" "$1/stage/"
  if [ "$REPO" = local ]; then
    git -C "$here" rev-parse --show-toplevel >/dev/null 2>&1 ||
      fail "$here is in no git checkout; set REPO and REF to what the workers shall clone"
    # Of the files that git knows those that are there: one may be deleted, not yet committed.
    run bash -c "set -o pipefail
cd $(quoted "$here/..") && git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' name; do [ ! -f \"\$name\" ] || printf '%s\0' \"\$name\"; done |
  COPYFILE_DISABLE=1 tar -cf - --null -T - | tar -xf - -C $(quoted "$1/stage/incoming")"
    parts+=(incoming)
  fi
  run env COPYFILE_DISABLE=1 tar -czf "$1/$archive" -C "$1/stage" "${parts[@]}"
}

archive=mixcon3d_setup.tar.gz
folder=${TMPDIR:-/tmp}/mixcon3d_setup
if [ "$DRY_RUN" = no ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
fi
pack "$folder"
on_nodes copy_to "$folder/$archive" "$archive" | with_slices
on_all_workers "mkdir -p -m 700 $WORKER_DIR && rm -rf $WORKER_DIR/incoming && \
tar -xzf $archive -C $WORKER_DIR && rm $archive && $(
  worker_command setup.sh "$REPO" "$REF" "$EXTRAS" "$PYTHON" "$PYTHON_VERSION"
)" | with_slices
