#!/usr/bin/env bash
# Brings checkout and environment of this worker up to date:
#   setup.sh REPO REF EXTRAS PYTHON PYTHON_VERSION
# With REPO `local` the new checkout lies in incoming/.  What is up to date already stays.
set -euo pipefail
cd "$(dirname "$0")/.."
. worker/process.sh
repo=$1 ref=$2 extras=$3 python=$4 python_version=$5

# is_recent PYTHON: whether this project runs on it, and environments can be made with it.
is_recent() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# is_environment: whether venv/ holds an interpreter that works.
is_environment() {
  venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

update_checkout() {
  if [ "$repo" = local ]; then
    rm -rf checkout.old
    [ ! -e checkout ] || mv checkout checkout.old
    mv incoming checkout
    rm -rf checkout.old
    return
  fi
  if [ "$(git -C checkout remote get-url origin 2>/dev/null)" != "$repo" ]; then
    rm -rf checkout
    git clone --quiet --no-checkout "$repo" checkout
  fi
  git -C checkout fetch --quiet --tags --prune origin
  if git -C checkout rev-parse --quiet --verify "origin/$ref^{commit}" >/dev/null; then
    ref=origin/$ref
  elif ! git -C checkout rev-parse --quiet --verify "$ref^{commit}" >/dev/null; then
    say "$repo has no branch, tag or commit '$ref'; correct REF" >&2
    exit 2
  fi
  git -C checkout checkout --quiet --force --detach "$ref"
}

# revision: of the checkout; of local files a checksum, which is the same on all workers.
revision() {
  if [ "$repo" = local ]; then
    printf 'local files '
    (cd checkout && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-12)
  else
    git -C checkout rev-parse --short=12 HEAD
  fi
}

# make_environment: with PYTHON, or the newest Python that is there, or one that uv fetches.
make_environment() {
  local candidate
  rm -rf venv
  for candidate in ${python:-python3.13 python3.12 python3.11 python3}; do
    if is_recent "$candidate"; then
      "$candidate" -m venv venv
      return
    fi
  done
  if [ -n "$python" ]; then
    say "$python is not Python 3.11 or newer with its venv module; correct PYTHON" >&2
    exit 2
  fi
  say "there is no Python 3.11 or newer; fetching $python_version with uv"
  python3 -m pip install --quiet --user uv
  python3 -m uv venv --quiet --seed --python "$python_version" venv
}

running=$(running_runs)
if [ -n "$running" ]; then
  say "$running is running; stop it before the checkout changes under it" >&2
  exit 3
fi
update_checkout
revision=$(revision)
if ! is_environment || [ "$(cat venv/.python 2>/dev/null)" != "$python" ]; then
  make_environment
  printf '%s\n' "$python" >venv/.python
fi
wanted="$(sha256sum <checkout/setup.py) [$extras]"
if [ "$(cat venv/.ready 2>/dev/null)" = "$wanted" ]; then
  installed='environment unchanged'
else
  rm -f venv/.ready
  (cd checkout && ../venv/bin/python -m pip install --quiet --editable ".[$extras]")
  printf '%s\n' "$wanted" >venv/.ready
  installed='packages installed'
fi
say "$(venv/bin/python --version), checkout $revision, $installed"
