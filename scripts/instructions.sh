#!/usr/bin/env bash
# Counts the instructions of hot functions under valgrind (the benches `instructions` of the crates) and says how to
# compare them. Counts are the same on a busy machine, so one run is enough and a change of 2 % is a real one.
#
#   scripts/instructions.sh [NAME]            # into target/instructions/NAME; the commit's short id if absent
#
# Without valgrind or the runner it says so and does nothing; `scripts/setup.sh bench` installs both.
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:-$(git rev-parse --short HEAD)}
if [[ ! $name =~ ^[A-Za-z0-9._-]+$ || $name == .* ]]; then
  echo "usage: scripts/instructions.sh [NAME]" >&2
  exit 2
fi
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
for program in valgrind gungraun-runner; do
  if ! command -v "$program" >/dev/null 2>&1; then
    echo "instructions: skipped: \`$program\` is not installed; \`scripts/setup.sh bench\` does that"
    exit 0
  fi
done

export GUNGRAUN_HOME="$target/instructions/$name"
rm -rf "$GUNGRAUN_HOME"
echo "instructions: building with the profile perf (many minutes the first time)"
cargo bench --workspace --profile perf --bench instructions -- --save-summary=json
cat <<SAID
instructions: in $GUNGRAUN_HOME; then for example
  paddock lab compare $target/instructions/BEFORE $GUNGRAUN_HOME
  paddock lab baseline save instructions $GUNGRAUN_HOME     # and later
  paddock lab gate --baseline instructions $target/instructions/AFTER
SAID
