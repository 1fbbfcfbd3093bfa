# Everything a developer runs. Each target does its own set-up.
CARGO := $(shell command -v cargo || echo $$HOME/.cargo/bin/cargo)

.DEFAULT_GOAL := help
.PHONY: help check real test fmt

help: ## these lines
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## formatting and lints, warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings

real: ## installs the real parts that tests run against (under target/real)
	tests/real/mlserver/setup.sh target/real/mlserver

test: check real ## all tests
	$(CARGO) test --locked

fmt: ## formats the code
	$(CARGO) fmt
