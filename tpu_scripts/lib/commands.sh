# shellcheck shell=bash
# Options, messages, and commands that are run or, with --dry-run, printed.  Sourced.

DRY_RUN=no
# What none of the common options took, for the script that sourced this.
ARGUMENTS=()

# fail MESSAGE: an error that the user can mend.
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 2
}

# note MESSAGE: for people, beside the output proper.
note() {
  printf '%s\n' "$*" >&2
}

# quoted WORD...: the words such that a POSIX shell reads them back as they are.
quoted() {
  local quote="'" escaped="'\\''" separator='' word
  for word in "$@"; do
    case $word in
      '' | *[!A-Za-z0-9_@%+=:,./-]*) word="'${word//$quote/$escaped}'" ;;
    esac
    printf '%s%s' "$separator" "$word"
    separator=' '
  done
}

# run COMMAND...: runs it, or prints it as one could type it.
run() {
  if [ "$DRY_RUN" = yes ]; then
    printf '%s\n' "$(quoted "$@")"
  else
    "$@"
  fi
}

# show_help: the comment at the top of the script.
show_help() {
  sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
}

# take_common_options ARGUMENT...: --help and --dry-run; the others go to ARGUMENTS.
take_common_options() {
  local verbatim=no argument
  for argument in "$@"; do
    case $verbatim$argument in
      no--help | no-h)
        show_help
        exit 0
        ;;
      no--dry-run) DRY_RUN=yes ;;
      no--)
        verbatim=yes
        ARGUMENTS+=("$argument")
        ;;
      *) ARGUMENTS+=("$argument") ;;
    esac
  done
}

# no_arguments: for a script that has none but the common options.
no_arguments() {
  [ ${#ARGUMENTS[@]} -eq 0 ] || fail "$(basename "$0") has no option '${ARGUMENTS[0]}' (see --help)"
}

# need NAME...: variables that may not be empty.
need() {
  local name
  for name in "$@"; do
    [ -n "${!name}" ] ||
      fail "$name is empty: set it in tpu_scripts/env.sh or in the environment"
  done
}

# need_number NAME...: variables that have to be whole numbers, 1 or more.
need_number() {
  local name
  for name in "$@"; do
    case ${!name} in
      '' | 0* | *[!0-9]*) fail "$name is '${!name}'; it has to be a whole number, 1 or more" ;;
    esac
  done
}

# need_seconds NAME...: variables that have to be numbers, 0 or more.
need_seconds() {
  local name
  for name in "$@"; do
    case ${!name} in
      '' | . | *[!0-9.]* | *.*.*) fail "$name is '${!name}'; it has to be a number of seconds" ;;
    esac
  done
}
