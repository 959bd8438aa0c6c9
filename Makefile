# Every target sets up what it needs by itself.

TARGET  := x86_64-unknown-linux-musl
PLUGINS := -p multus -p daemon -p macvlan -p ipvlan -p whereabouts -p kubectl
export CARGO_TERM_COLOR ?= auto
# The scripts look for the binaries in target/.
unexport CARGO_TARGET_DIR

.PHONY: help build image demo demo-down test lint lint-format lint-clippy lint-doc lint-shell lint-spelling lint-workflows monitoring release unit audit fuzz mutants bench manifests migration overlays packages clean

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

build: ## Static release binaries, in target/x86_64-unknown-linux-musl/release
	@tests/cluster/setup
	cargo build --release --locked --target $(TARGET) $(PLUGINS)

image: build ## The image with all programs, in target/image: an OCI archive for ctr, skopeo, kind and docker (MRS_ARCHS="amd64 arm64")
	@deploy/image/build

demo: ## A real two-node cluster, three pods, net1 on each
	@tests/demo/run

demo-down: ## Remove what make demo made
	@tests/cluster/down demo

test: ## What CI runs for each change: lints, all tests, a virtual machine, real clusters; needs root
	@tests/run

lint: lint-format lint-clippy lint-doc lint-shell lint-spelling lint-workflows ## Format, lints, links in documentation, shell scripts, spelling, workflows

lint-format:
	cargo fmt --all --check

lint-clippy:
	cargo clippy --locked --workspace --all-targets -- -D warnings

# The crates are not published, so their readers are developers: private items are documented too, and a link to one is no fault.
lint-doc:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" \
		cargo doc --locked --workspace --no-deps --document-private-items

lint-shell:
	@tests/lint/shell

lint-spelling:
	@tests/lint/spelling

lint-workflows:
	@tests/lint/workflows

monitoring: ## Alerts and dashboard, by promtool
	@tests/monitoring/check

release: build ## All files of a release for both architectures, in target/release-files; checks them, and the other architecture's programs
	@tests/image/foreign
	@tests/vm/foreign
	@tests/release/test target/release-files

# netlink and multus make network namespaces in unit tests: tests/unit/root gives them the rights.
unit: ## Unit tests of every crate: no cluster, no root where users may make user namespaces
	cargo test --locked --workspace --lib --config 'target."cfg(unix)".runner = ["$(CURDIR)/tests/unit/root"]'

audit: ## For nights and releases: licences, sources, duplicates and advisories of dependencies, and unused ones
	@tests/audit/run

fuzz: ## Every reader of untrusted bytes under libFuzzer, FUZZ_SECONDS=60 each; failing inputs go into tests/corpus
	@tests/fuzz/run

mutants: ## For nights: changes the code that decides in small ways; the unit tests must find each change (MUTANTS_SHARD=0/4)
	@tests/mutants/run

bench: ## What calls, addresses, whole pods and many pods at once cost; writes docs/benchmarks.md (BENCH_QUICK=1, AGAINST=folder of other plugins)
	@tests/bench/run $(if $(AGAINST),--against $(AGAINST))

manifests: ## Upstream's own manifests of many releases, with our image, on real clusters
	@tests/upstream/run

migration: ## From Multus and Whereabouts to ours and back, under running pods, on a real cluster
	@tests/upstream/migration
	@tests/upstream/migrate

overlays: ## deploy/overlays on real clusters: what they deny and allow
	@tests/overlays/run

packages: ## The Helm chart and the Carvel packages, with their tools, on real clusters
	@tests/packages/render
	@tests/packages/run

clean: ## Remove build output and clusters; keep the cache with Kubernetes and tools
	-tests/cluster/down demo
	-tests/cluster/down test
	cargo clean
