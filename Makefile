# What one types. Every target sets up what it needs by itself.

TARGET  := x86_64-unknown-linux-musl
PLUGINS := -p multus -p macvlan -p ipvlan -p whereabouts
export CARGO_TERM_COLOR ?= auto
# The scripts find the binaries in this folder.
unexport CARGO_TARGET_DIR

.PHONY: help build demo demo-down test lint unit fuzz bench clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

build: ## Release binaries, static, in target/x86_64-unknown-linux-musl/release
	@tests/cluster/setup
	cargo build --release --locked --target $(TARGET) $(PLUGINS)

demo: ## A real two-node cluster, three pods, net1 on each
	@tests/demo/run

demo-down: ## Remove what make demo made
	@tests/cluster/down demo

test: ## Everything that CI runs
	@tests/run

lint: ## Format and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

unit: ## Unit tests only: no root, no cluster
	cargo test --locked -p cni -p nad -p node -p whereabouts -p multus --lib

fuzz: ## Every reader of foreign bytes under libFuzzer, FUZZ_SECONDS=60 each; what fails goes into tests/corpus
	@tests/fuzz/run

bench: ## Plugins beside Debian's Go plugins, addresses on a real API server; writes docs/benchmarks.md (BENCH_QUICK=1)
	@tests/bench/run

clean: ## Build output and clusters; not the cache with Kubernetes
	-tests/cluster/down demo
	-tests/cluster/down test
	cargo clean
