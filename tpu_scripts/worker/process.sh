# shellcheck shell=bash
# Which processes of a run there are on this worker.  Sourced by the scripts beside it.

LOGS=$HOME/mixcon3d_logs

# worker_name: its number; the hosts of a TPU are called ...-w-0, ...-w-1 and so on.
worker_name() {
  local host
  host=$(hostname)
  printf '%s\n' "${host##*-w-}"
}

# say MESSAGE: as this worker.
say() {
  printf 'worker %s: %s\n' "$(worker_name)" "$*"
}

# identity PID: the number with what tells the process from a later one of the same number: the boot
# and the time of its start.  Fails if there is none, or only what is left of one that ended.
identity() {
  local boot stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # The name in brackets may hold spaces: fields are counted behind it.
  # shellcheck disable=SC2086
  set -- "$1" ${stat##*) }
  case $2 in Z | X) return 1 ;; esac
  boot=$(cat /proc/sys/kernel/random/boot_id)
  printf '%s %s %s\n' "$1" "$boot" "${21}"
}

# recorded RUN ROLE: the identity of a process of a run, `wrapper` or `program`.
recorded() {
  sed -n "s/^$2 //p" "$LOGS/$1/processes" 2>/dev/null || true
}

# alive RUN ROLE: prints the number of the process if it is the one that was recorded.
alive() {
  local known pid
  known=$(recorded "$1" "$2")
  pid=${known%% *}
  [ -n "$pid" ] && [ "$(identity "$pid")" = "$known" ] && printf '%s\n' "$pid"
}

# is_running RUN
is_running() {
  alive "$1" wrapper >/dev/null || alive "$1" program >/dev/null
}

# running_runs: the names of the runs that are running on this worker.
running_runs() {
  local folder
  for folder in "$LOGS"/*/; do
    folder=$(basename "$folder")
    ! is_running "$folder" || printf '%s\n' "$folder"
  done
}
