#!/usr/bin/env bash
# Eight agents with three browsers each, all at work for ROUNDS rounds of navigating, reading, clicking and asking. Says
# how long what they do takes, and whether one saw anything of another's.
#
#   scripts/multi-agent-load.sh [ROUNDS]      # 100 if absent: minutes on two cores
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-100}
if [[ ! $rounds =~ ^[1-9][0-9]{0,3}$ ]]; then
  echo "usage: scripts/multi-agent-load.sh [ROUNDS]" >&2
  exit 2
fi
exec scripts/benchmark.sh fleet-agents --set "count=$rounds"
