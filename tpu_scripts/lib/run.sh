# shellcheck shell=bash
# A run on the workers: its name, and what its processes are doing.  Sourced after tpu.sh.

# set_run: RUN, if it isn't set, from WORKDIR; checks it.
set_run() {
  if [ -z "$RUN" ]; then
    need WORKDIR
    RUN=${WORKDIR%/}
    RUN=${RUN##*/}
  fi
  case $RUN in
    '' | .* | *[!A-Za-z0-9_.=+-]*)
      fail "RUN is '$RUN'; it names a folder, of letters, digits and _ . = + - (set RUN)"
      ;;
  esac
}

# worker_command SCRIPT ARGUMENT...: the command that runs a script of worker/ on a worker.
worker_command() {
  quoted bash "$WORKER_DIR/worker/$1"
  shift
  [ $# -eq 0 ] || printf ' %s' "$(quoted "$@")"
}

# status_command: prints a worker's line of worker/status.sh, also where nothing is set up.
status_command() {
  # shellcheck disable=SC2016  # the worker expands it
  printf 'if [ -e %s ]; then %s; else host=$(hostname); %s; fi' \
    "$(quoted "$WORKER_DIR/worker/status.sh")" "$(worker_command status.sh "$RUN")" \
    'printf "%s\tnot-set-up\t-\t-\t-\n" "${host##*-w-}"'
}

# worker_states: a line for each worker that answers, sorted:
# NODE, worker, state, exit status, since when, last line of the log; tabs between.
worker_states() {
  on_all_workers "$(status_command)" | sort -t $'\t' -k 1,1 -k 2,2n
}

# outcome STATES: of all WORKERS together, from lines of worker_states:
#   unanswered  some did not answer
#   running     on all, but for some perhaps that are finished already
#   partial     on some; on others it ended, not as it should
#   bad-input   ended with status 2 on all: when one process finds its input bad, all of them do;
#               those that miss another one, which crashed, end with 2 as well
#   finished    ended with status 0 on all
#   preempted   ended with status 75, on some perhaps with 0
#   crashed     ended in another way, or isn't there
outcome() {
  local count=0 running=0 bad=0 finished=0 preempted=0 node state _
  while IFS=$'\t' read -r node _ state _; do
    [ -n "$node" ] || continue
    count=$((count + 1))
    case $state in
      running) running=$((running + 1)) ;;
      bad-input) bad=$((bad + 1)) ;;
      finished) finished=$((finished + 1)) ;;
      preempted) preempted=$((preempted + 1)) ;;
    esac
  done <<<"$1"
  if [ "$count" -eq 0 ] || [ "$count" -ne "$WORKERS" ]; then
    printf 'unanswered\n'
  elif [ "$running" -gt 0 ] && [ "$((running + finished))" -eq "$count" ]; then
    printf 'running\n'
  elif [ "$running" -gt 0 ]; then
    printf 'partial\n'
  elif [ "$bad" -eq "$count" ]; then
    printf 'bad-input\n'
  elif [ "$finished" -eq "$count" ]; then
    printf 'finished\n'
  elif [ "$((finished + preempted))" -eq "$count" ]; then
    printf 'preempted\n'
  else
    printf 'crashed\n'
  fi
}

# by_worker STATES: as "worker 0 preempted (75), worker 1 crashed (137)".
by_worker() {
  local node worker state status _ separator=''
  while IFS=$'\t' read -r node worker state status _; do
    [ "$NUM_SLICES" -eq 1 ] || worker="$worker of $node"
    printf '%sworker %s %s (%s)' "$separator" "$worker" "$state" "$status"
    separator=', '
  done <<<"$1"
}

# newest_step: that WORKDIR holds a checkpoint of, as the first worker sees it; -1 if there is none,
# -2 if it can't say.
newest_step() {
  local command step
  command="cd $WORKER_DIR/checkout && ../venv/bin/python ../worker/newest_step.py"
  command="$command $(quoted "$WORKDIR")"
  step=$(
    ssh_to "$(node_names | head -n 1)" 0 "$command" 2>/dev/null </dev/null | tail -n 1
  ) || step=-2
  case $step in
    -1 | [0-9]*) printf '%s\n' "$step" ;;
    *) printf '%s\n' -2 ;;
  esac
}
