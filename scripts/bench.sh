#!/usr/bin/env bash
# Measures what objectives.toml promises on an optimised build and prints the verdicts: the lab's quick tier.
#
# A missed threshold or an invalid run (a machine that does other things) is shown and does not fail this script: a
# shared machine would make it fail at random. Whatever keeps the lab from measuring does.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "bench: building with the profile perf (many minutes the first time)"
# The benches too: scenarios start them with `cargo bench`, and a compiler in the middle of a run would be measured.
cargo build --workspace --profile perf --bins --benches
PADDOCK_BIN=$(realpath "${CARGO_TARGET_DIR:-target}/perf/paddock")
export PADDOCK_BIN

code=0
"$PADDOCK_BIN" lab run --tier quick --out "${CARGO_TARGET_DIR:-target}/lab" || code=$?
case $code in
  0) ;;
  3) echo "bench: a threshold was missed; the table says which" ;;
  5) echo "bench: a run is invalid: the machine was busy, or the generator could not keep up" ;;
  *) exit "$code" ;;
esac
