#!/usr/bin/env bash
# Installs what this machine lacks for building Paddock (`setup.sh build`), running it (`setup.sh run`), testing it
# (`setup.sh test`), measuring it against other programs and under valgrind (`setup.sh bench`), or for building agents in
# any language (`setup.sh agents`).
#
# Debian and its relatives, through apt. Safe to repeat: when nothing is missing it installs nothing, asks nobody and
# returns at once. Other systems get the list of what to install.
set -euo pipefail

purpose=${1:-run}
case $purpose in
  build | run | test | bench | agents) ;;
  *)
    echo "usage: scripts/setup.sh build|run|test|bench|agents" >&2
    exit 2
    ;;
esac

missing=()

# need COMMAND-OR-FILE PACKAGE...: the packages are wanted unless the command or file is there.
need() {
  local probe=$1
  shift
  if [[ $probe == /* ]]; then
    compgen -G "$probe" >/dev/null && return 0
  else
    command -v "$probe" >/dev/null 2>&1 && return 0
  fi
  missing+=("$@")
}

need cargo rustup
# The version that Cargo.toml names; rustup can bring an older one up to date.
rust_needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
if command -v rustc >/dev/null 2>&1; then
  rust_found=$(rustc --version | cut -d' ' -f2)
  if [[ $(printf '%s\n' "$rust_needed" "${rust_found%%-*}" | sort -V | head -n 1) != "$rust_needed" ]]; then
    echo "setup: Rust $rust_found is too old, Paddock needs $rust_needed; run \`rustup update stable\`" >&2
    exit 1
  fi
fi
need cc gcc libc6-dev
need make make
if [[ $purpose != agents && $purpose != build ]]; then
  need '/usr/lib/chromium*/chromium-headless-shell' chromium-headless-shell
  need '/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf' fonts-dejavu-core
  need '/usr/share/fonts/truetype/liberation*/LiberationSans-Regular.ttf' fonts-liberation
fi
if [[ $purpose == test || $purpose == bench ]]; then
  need '/usr/lib/postgresql/*/bin/initdb' postgresql
  need nats-server nats-server
  need promtool prometheus
  need wrk wrk
  need node nodejs
  need npm npm
  # Repositories for the registry, over TLS.
  need git git
  need openssl openssl
  # The full browser, windows without a display, and films: `run` does without, and says so when they are asked for.
  need '/usr/lib/chromium/chromium' chromium
  need Xvfb xvfb
  need ffmpeg ffmpeg
  need python3 python3
  need '/usr/lib/python3*/ensurepip' python3-venv
fi
if [[ $purpose == bench ]]; then
  need valgrind valgrind
  need hey hey
fi

# What agents are written in: compilers for WebAssembly, the rest comes from npm and PyPI below.
if [[ $purpose == agents || $purpose == test ]]; then
  # Rust's second compiler in Debian brings the sources of its standard library; rustup may have it compiled.
  if [[ ! -d $(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null) ]]; then
    need '/usr/lib/rustlib/src/rust/library/std' rustc-web rust-web-src
    need '/usr/bin/lld-*' lld-22
  fi
  need '/usr/bin/clang-19' clang-19
  need '/usr/bin/wasm-ld-19' lld-19
  need '/usr/lib/wasm32-wasi/libc.a' wasi-libc
  need '/usr/lib/llvm-19/lib/clang/19/lib/wasi/libclang_rt.builtins-wasm32.a' libclang-rt-19-dev-wasm32
  need node nodejs
  need npm npm
  need python3 python3
  need '/usr/lib/python3*/ensurepip' python3-venv
fi

# The tools of TypeScript and Python for agents, where the tests build the examples: only when they are others than before.
agent_tools() {
  [[ $purpose == agents || $purpose == test ]] || return 0
  local sdk cache
  sdk=$(cd "$(dirname "${BASH_SOURCE[0]}")/../sdk/agents" && pwd)
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/paddock-agents
  mkdir -p "$cache"
  if ! cmp -s "$sdk/ts/package.json" "$cache/installed.json"; then
    echo "setup: installing the tools of agents in TypeScript"
    if (cd "$cache" && cp "$sdk/ts/package.json" . && npm install --no-audit --no-fund --loglevel=error >/dev/null); then
      cp "$sdk/ts/package.json" "$cache/installed.json"
    else
      echo "setup: npm could not install them; the examples in TypeScript will not be built" >&2
    fi
  fi
  if ! cmp -s "$sdk/python/requirements.txt" "$cache/installed.txt"; then
    echo "setup: installing the tools of agents in Python"
    if (cd "$cache" && python3 -m venv .venv && .venv/bin/pip install -q --disable-pip-version-check -r "$sdk/python/requirements.txt" >/dev/null); then
      cp "$sdk/python/requirements.txt" "$cache/installed.txt"
    else
      echo "setup: pip could not install them; the examples in Python will not be built" >&2
    fi
  fi
}

# Clients nobody here wrote, for the tests: from their lock file, and only when that has changed.
node_packages() {
  [[ $purpose == test || $purpose == bench ]] || return 0
  local dir
  dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../tests/clients" && pwd)
  [[ $dir/node_modules/.package-lock.json -nt $dir/package-lock.json ]] && return 0
  echo "setup: installing the node packages of tests/clients"
  if ! (cd "$dir" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null && touch node_modules/.package-lock.json); then
    echo "setup: npm could not install them; the tests with other people's clients will be skipped" >&2
  fi
}

# What is measured beside Paddock, from its lock file into a directory, unless that has it already.
peer_packages_in() {
  local from=$1 into=$2
  cmp -s "$from/package-lock.json" "$into/node_modules/installed-lock.json" && return 0
  echo "setup: installing the node packages of scenarios${from##*/scenarios}"
  mkdir -p "$into"
  [[ $from == "$into" ]] || cp "$from/package.json" "$from/package-lock.json" "$into"
  if ! (cd "$into" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null && cp package-lock.json node_modules/installed-lock.json); then
    echo "setup: npm could not install them; Paddock will be measured without them" >&2
  fi
}

# Other people's job queues and browsers, where the benchmarks look for them; they would install them during a run.
peer_packages() {
  [[ $purpose == bench ]] || return 0
  local peers
  peers=$(cd "$(dirname "${BASH_SOURCE[0]}")/../scenarios/peers" && pwd)
  peer_packages_in "$peers" "$peers"
  peer_packages_in "$peers/browser" "${PADDOCK_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/paddock-peers}/npm"
}

# What counts instructions: of the version that Cargo.lock names, else it refuses to work.
instruction_runner() {
  [[ $purpose == bench ]] || return 0
  local lock wanted
  lock=$(dirname "${BASH_SOURCE[0]}")/../Cargo.lock
  wanted=$(grep -A1 '^name = "gungraun-runner"' "$lock" | sed -n 's/^version = "\(.*\)"/\1/p')
  cargo install --list 2>/dev/null | grep -q "^gungraun-runner v$wanted:" && return 0
  echo "setup: building gungraun-runner $wanted (a minute or two)"
  if ! cargo install --quiet --locked gungraun-runner --version "$wanted"; then
    echo "setup: it could not be built; instructions will not be counted" >&2
  fi
}

# The same from PyPI.
python_packages() {
  [[ $purpose == test || $purpose == bench ]] || return 0
  local dir
  dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../tests/clients" && pwd)
  [[ $dir/.venv/installed -nt $dir/requirements.txt ]] && return 0
  echo "setup: installing the Python packages of tests/clients"
  if ! (cd "$dir" && python3 -m venv .venv && .venv/bin/pip install -q --disable-pip-version-check -r requirements.txt >/dev/null && touch .venv/installed); then
    echo "setup: pip could not install them; the tests with the Python SDKs will be skipped" >&2
  fi
}

if ((${#missing[@]} == 0)); then
  agent_tools
  node_packages
  peer_packages
  python_packages
  instruction_runner
  echo "setup: everything for \`$purpose\` is installed"
  exit 0
fi
echo "setup: installing ${missing[*]}"

if [[ " ${missing[*]} " == *" rustup "* ]]; then
  echo "setup: Rust is missing; install it from https://rustup.rs and run this again" >&2
  exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "setup: this is not Debian; install what these Debian packages hold, then run this again: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null 2>&1; then
    echo "setup: run as root: apt-get update && apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

# The tests start a PostgreSQL of their own and Prometheus only lends `promtool`: neither is to run as a service here.
# What keeps them from starting is taken back when the installation is done.
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/paddock-setup.conf
undo=()
trap '((${#undo[@]} == 0)) || "${as_root[@]}" rm -f "${undo[@]}"' EXIT
if [[ $purpose != run && $purpose != build ]]; then
  if [[ ! -e $policy ]]; then
    undo+=("$policy")
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
  fi
  if [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
    undo+=("$cluster")
    "${as_root[@]}" mkdir -p "$(dirname "$cluster")"
    echo 'create_main_cluster = false' | "${as_root[@]}" tee "$cluster" >/dev/null
  fi
fi

log=$(mktemp)
install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1
}
# The package lists of a fresh machine are empty or old; fetch them only when the first try needs it.
if ! install; then
  echo "setup: fetching the package lists"
  if ! "${as_root[@]}" apt-get update >"$log" 2>&1 || ! install; then
    tail -n 20 "$log" >&2
    echo "setup: apt-get could not install ${missing[*]}; its last words are above" >&2
    exit 1
  fi
fi
rm -f "$log"
agent_tools
node_packages
peer_packages
python_packages
instruction_runner
echo "setup: done"
