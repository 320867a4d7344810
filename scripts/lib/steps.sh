# shellcheck shell=bash
# Sourced by the scripts beside this folder: where things are kept, and steps that show how long they take.
# Everything said here goes to stderr, so that a script's stdout is data.

# shellcheck disable=SC2034  # read by the scripts that source this file
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${STACKUP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/stackup}
LOGS=$CACHE/log
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
# Go's caches grow to gigabytes for these few programs: kept here, and such that `rm -r` can remove them.
export GOPATH=$CACHE/go GOMODCACHE=$CACHE/go/pkg/mod GOCACHE=$CACHE/go/build GOFLAGS="${GOFLAGS:+$GOFLAGS }-modcacherw"
# So are its counts of its own calls, which it keeps beside the user's settings; the settings stay the user's.
export GOENV=${GOENV:-${XDG_CONFIG_HOME:-$HOME/.config}/go/env}
if type -P go >/dev/null; then go() { XDG_CONFIG_HOME=$CACHE/go/config command go "$@"; }; fi
# kubectl's, of clusters that live for seconds.
export KUBECACHEDIR=$CACHE/kubectl
mkdir -p "$LOGS"

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# version KEY prints the version that manifests/versions.yaml names for it: `KEY: 1.2.3`, or `version: 1.2.3` below `KEY:`.
version() {
  local found
  found=$(awk -v key="$1:" '
    /^[^ #]/ { inside = ($1 == key); if (inside && $2 !~ /^(#|$)/) { print $2; exit } }
    inside && $1 == "version:" { print $2; exit }' "$ROOT/manifests/versions.yaml" | tr -d "\"'")
  [[ $found ]] || die "manifests/versions.yaml names no version for '$1'"
  printf '%s\n' "$found"
}

# help prints the comment at the top of the script.
help() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

# step TITLE COMMAND… runs a command with its output in a log file, and shows one line with its time;
# when the command fails, also the end of the log.
step() {
  local title=$1 log status start=$SECONDS ticker=
  shift
  log=$LOGS/${title//[^[:alnum:].-]/_}.$$.log
  if [[ -t 2 ]]; then
    while kill -0 $$ 2>/dev/null; do
      printf '\r  %-52s %5d s … ' "$title" "$((SECONDS - start))" >&2
      sleep 1
    done &
    ticker=$!
    trap 'kill "$ticker" 2>/dev/null || true' EXIT
  fi
  set +e # `"$@" || …` would switch it off inside the command as well
  (set -e; "$@") >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if [[ $ticker ]]; then
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    trap - EXIT
    printf '\r' >&2
  fi
  if [[ $status = 0 ]]; then
    printf '  %-52s %5d s    \n' "$title" "$((SECONDS - start))" >&2
    rm -f "$log"
  else
    printf '  %-52s FAILED after %d s; the end of %s:\n' "$title" "$((SECONDS - start))" "$log" >&2
    tail -n "${STEP_TAIL:-40}" "$log" | sed 's/^/    /' >&2
  fi
  return "$status"
}

# python_of_requirements prints the folder of a virtual environment with what scripts/requirements.txt lists; made once.
python_of_requirements() {
  local folder
  folder=$CACHE/python-$(sha256sum "$ROOT/scripts/requirements.txt" | head -c 12)
  (
    flock 9
    [[ -f $folder/complete ]] || step 'programs from PyPI' make_python "$folder"
  ) 9>"$CACHE/python.lock" && printf '%s\n' "$folder"
}
make_python() {
  rm -rf "$1" && python3 -m venv "$1" && "$1/bin/pip" install -q --no-cache-dir -r "$ROOT/scripts/requirements.txt" && touch "$1/complete"
}
