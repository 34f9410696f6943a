# Each target is a line or two; what is longer is a script in .ci/ or a command of the program itself.
.DEFAULT_GOAL := help
.PHONY: help setup build plugins demo test lint fmt bench audit clean

STAUNCH = $${CARGO_TARGET_DIR:-target}/debug/staunch

help: ## Shows this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 10

setup: ## Installs what building and testing need and this machine does not have
	@.ci/setup

build: ## Compiles the program, for development
	cargo build --locked --workspace

plugins: build ## Builds the first-party plugins, each into its dist/
	@.ci/setup guest && .ci/plugins

demo: plugins ## Tells the whole story on this machine, and leaves nothing behind
	@if [ -t 0 ] && [ -t 1 ]; then $(STAUNCH) demo; else $(STAUNCH) demo --yes; fi

test: setup ## Runs every check and test
	@.ci/test

lint: ## Checks layout, lints and the unit file, without running tests
	@.ci/lint

fmt: ## Lays all Rust code out
	cargo fmt --all && cd plugins && cargo fmt --all

bench: ## Measures the release program against its bars
	cargo build --locked --release --workspace
	@deploy/bench/run

audit: ## Checks dependencies: licences, bans, sources, known vulnerabilities
	@.ci/audit

clean: ## Removes everything that was built
	rm -rf target plugins/target plugin-sdk/rust/target plugins/*/dist
