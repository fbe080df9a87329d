# The doors to this repository. `make help` lists them; each sets up what is missing first (packaging/setup.sh).
PROFILE ?= release

.DEFAULT_GOAL := help
.PHONY: help run test test-vm check bench bench-vm package

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## a healed incident, live, on a scratch filesystem of its own (root; ONCE=1 ends by itself)
	packaging/setup.sh build run
	packaging/demo.sh

test: ## everything: unit, property, fuzz (a short while), real-kernel, real-systemd, package and virtual machine tests (root for the real parts)
	packaging/setup.sh build run package test
	RUST_TEST_THREADS=6 cargo test --locked
	fuzz/run 20
	packaging/setup.sh vm || [ "$$CI" != true ]
	cargo test --locked --test vm -- --ci

test-vm: ## all scenarios on a kernel of their own: real faults, decoys, a score, docs/scenarios.md (root; an hour; ONLY="NAME …")
	packaging/setup.sh build package vm
	cargo test --locked --test vm -- $(ONLY)

check: ## format, lints, documentation, licences, unused dependencies
	packaging/setup.sh build ci
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --test vm -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items
	cargo deny --log-level error check bans licenses sources
	@if cargo deny --log-level off fetch db; then cargo deny --log-level error check advisories; \
	else echo 'ADVISORIES NOT CHECKED: the advisory database could not be fetched' >&2; fi
	cargo machete

bench: ## the benchmarks, as ratios to du, find and the packaged peers
	packaging/setup.sh build run bench
	cargo bench --locked

bench-vm: ## a leak and a global OOM beside earlyoom and systemd-oomd, in a virtual machine: writes docs/peers.md (root; half an hour)
	packaging/setup.sh build package vm
	cargo test --locked --test vm -- --peers

package: ## target/packages/*.deb and *.rpm (PROFILE=dev: quick, for tests)
	packaging/setup.sh build package
	PROFILE=$(PROFILE) packaging/build.sh
