#!/usr/bin/env bash
# Measures what objectives.toml promises on an optimised build and prints the verdicts: `paddock lab run`.
#
#   scripts/benchmark.sh                      # the quick tier, minutes
#   scripts/benchmark.sh --tier full          # as promised, and docs/performance-benchmarks.md can be made of it
#   scripts/benchmark.sh healthz --repeat 6   # any other arguments of `paddock lab run`
#
# `PADDOCK_PROFILE=dev` measures the build that the tests use, which is there already: to see that everything can be measured,
# not how quick it is.
#
# A missed threshold or an invalid run (a machine that does other things) is shown and does not fail this script: a
# shared machine would make it fail at random. Whatever keeps the lab from measuring does.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PADDOCK_PROFILE:-perf}
echo "benchmark: building with the profile $profile (many minutes the first time)"
# The benches, too, where they may be wanted: scenarios start them with `cargo bench`, and a compiler in the middle of a
# run would be measured. The quick tier leaves those scenarios out.
what=(--bins --bench '*')
if (($# == 0)); then
  what=(--bins)
  set -- --tier quick
fi
cargo build --workspace --profile "$profile" "${what[@]}"
PADDOCK_BIN=$(realpath "${CARGO_TARGET_DIR:-target}/${profile/#dev/debug}/paddock")
export PADDOCK_BIN

code=0
"$PADDOCK_BIN" lab run --out "${CARGO_TARGET_DIR:-target}/lab" "$@" || code=$?
case $code in
  0) ;;
  3) echo "benchmark: a threshold was missed; the table says which" ;;
  5) echo "benchmark: a run is invalid: the machine was busy, or the generator could not keep up" ;;
  *) exit "$code" ;;
esac
