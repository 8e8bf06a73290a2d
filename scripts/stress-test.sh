#!/usr/bin/env bash
# COUNT browsers at once, first in shared processes, then with a process each: how long until all are there, what each
# costs, whether all answer, how soon they are gone.
#
#   scripts/stress-test.sh [COUNT]            # 100 if absent; then 5 GB of memory have to be free
set -euo pipefail
cd "$(dirname "$0")/.."

count=${1:-100}
if [[ ! $count =~ ^[1-9][0-9]{0,3}$ ]]; then
  echo "usage: scripts/stress-test.sh [COUNT]" >&2
  exit 2
fi
exec scripts/benchmark.sh fleet-contexts fleet-processes --set "count=$count"
