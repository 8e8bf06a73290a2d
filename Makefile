# The two commands of the README, and those of CONTRIBUTING.md. Each installs what it lacks and says what it does.
.DEFAULT_GOAL := help
.PHONY: help run test check fmt lint bench

LISTEN ?= 127.0.0.1:7070
DATA ?= paddock-data
# Run directly: `cargo run` would build the dependencies again with the features of one package.
PADDOCK := $(or $(CARGO_TARGET_DIR),target)/debug/paddock
# cargo-nextest runs each test in a process of its own and is quicker; plain `cargo test` runs the same tests.
TEST := $(shell command -v cargo-nextest >/dev/null 2>&1 && echo "nextest run" || echo "test")

help: ## Show these commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 14

# Chromium and the like are fetched while the compiler works: on a fresh machine, minutes less to wait.
run: ## Build, start the server, and analyse the bundled shop page
	@scripts/setup.sh build
	@echo "run: building (minutes the first time, seconds afterwards)"
	@scripts/setup.sh run & setup=$$!; cargo build --workspace --bins; built=$$?; wait $$setup && exit $$built
	@$(PADDOCK) serve --listen $(LISTEN) --data $(DATA) --demo

test: ## Run every test
	@scripts/setup.sh build
	@echo "test: building and running every test"
	@scripts/setup.sh test & setup=$$!; cargo $(TEST) --workspace --no-run; built=$$?; wait $$setup && exit $$built
	@cargo $(TEST) --workspace --no-fail-fast

check: fmt lint test ## Everything a change has to pass

fmt: ## Check the formatting
	@cargo fmt --all --check

lint: ## Run clippy; warnings are errors
	@cargo clippy --workspace --all-targets -- -D warnings

bench: ## Measure what objectives.toml promises, the quick tier, on an optimised build
	@scripts/setup.sh test
	@scripts/benchmark.sh
