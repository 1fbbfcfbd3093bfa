# Everything a developer runs. Each target does its own set-up.
CARGO := $(shell command -v cargo || echo $$HOME/.cargo/bin/cargo)

.DEFAULT_GOAL := help
.PHONY: help check test fmt

help: ## these lines
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## formatting and lints, warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings

test: check ## all tests
	$(CARGO) test --locked

fmt: ## formats the code
	$(CARGO) fmt
