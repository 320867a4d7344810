# shellcheck shell=bash
# Sourced by scripts/control-plane and by pin: what the table of programs means.

MODULES=$ROOT/scripts/control-plane.d

# The table without its first line.
table() { grep -v '^#' "$MODULES/programs"; }

# module_version KEY prints the version as a Go module has it: v1.34.4, and for Prometheus 3.16.0 v0.316.0.
module_version() {
  local found major minor patch
  found=$(version "$1")
  if [[ $1 = prometheus ]]; then
    IFS=. read -r major minor patch <<<"$found"
    printf 'v0.%d%02d.%d\n' "$major" "$minor" "$patch"
  else
    printf 'v%s\n' "$found"
  fi
}

# module_of PACKAGE prints the path of the module that holds the package.
module_of() { printf '%s\n' "${1%/cmd/*}"; }

# tags MODULE prints its build tags. Prometheus finds its targets through Kubernetes or not at all here.
tags() { [[ $1 != prometheus ]] || echo remove_all_sd,enable_kubernetes_sd,netgo; }
