# Everything a developer runs. Each target does its own set-up.
CARGO := $(shell command -v cargo || echo $$HOME/.cargo/bin/cargo)

.DEFAULT_GOAL := help
.PHONY: test-k8s help check deny lint-chart real test test-chart demo bench bench-peers profile instructions fuzz soak streams simulate mutants fmt
# Sizes of `make bench-peers`; WORK names some kinds of work, such as `small mib`, and then RESULTS.md stays as it is.
BENCH_SECONDS ?= 4
BENCH_ROUNDS ?= 5
WORK ?=
SIMULATE_TIMES ?= 20

help: ## these lines
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: deny lint-chart ## formatting and lints (warnings are errors), what may be linked in, the chart
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings

deny: ## licences, sources, banned and doubled crates, by cargo-deny
	tests/real/deny/setup.sh target/real
	CARGO=$(CARGO) target/real/bin/cargo-deny --locked check bans licenses sources

lint-chart: ## the chart, by helm lint
	tests/real/chart/setup.sh target/real/bin
	target/real/bin/helm lint --strict --quiet charts/coalmine

real: ## installs the real parts that tests run against (under target/real)
	tests/real/tools/setup.sh
	tests/real/git/setup.sh
	tests/real/mlserver/setup.sh target/real/mlserver
	tests/real/clients/setup.sh target/real/clients
	tests/real/prometheus/setup.sh
	tests/real/browser/setup.sh
	tests/real/chart/setup.sh target/real/bin
	tests/real/gitea/setup.sh target/real/bin
	tests/real/mlflow/setup.sh target/real/mlflow

test: check real ## all checks and tests, and what a request costs; CI runs it, and test-k8s
	$(CARGO) test --locked
	$(MAKE) instructions

test-chart: ## the chart and the dashboard, rendered by a real helm
	tests/real/chart/setup.sh target/real/bin
	$(CARGO) test --locked --test it chart::

test-k8s: ## against a real Kubernetes API server (or the cluster of KUBECONFIG) and a real Argo CD, built at the first run
	tests/real/git/setup.sh
	tests/real/chart/setup.sh target/real/bin
	tests/real/k8s/setup.sh target/real/bin
	$(CARGO) test --locked --test it k8s:: -- --ignored --nocapture --test-threads=1

bench: ## CPU per request beside nginx, and the cost of the judge
	benches/peers/setup.sh
	PATH="$$PATH:/usr/sbin" $(CARGO) bench --locked --bench peers
	$(CARGO) bench --locked --bench judge

bench-peers: ## beside nginx, HAProxy, Envoy and Pingora; writes benches/RESULTS.md
	benches/peers/setup.sh all
	PATH="$$PATH:/usr/sbin" $(CARGO) bench --locked --bench peers -- all 1 1 $(WORK)
	PATH="$$PATH:/usr/sbin" $(CARGO) bench --locked --bench peers -- all $(BENCH_SECONDS) $(BENCH_ROUNDS) $(or $(WORK),write)

profile: ## where the time of one kind of work goes, by callgrind and perf: WORK=h2, or WORK='h2 nginx' for a peer
	benches/peers/setup.sh profile
	PATH="$$PATH:/usr/sbin" CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_STRIP=none \
		$(CARGO) bench --locked --bench peers -- profile $(BENCH_SECONDS) $(or $(WORK),small)

instructions: ## user instructions per small request by callgrind, against a budget
	command -v valgrind >/dev/null || { apt-get update -qq && apt-get install -y -qq valgrind; }
	$(CARGO) bench --locked --bench instructions

fuzz: ## every fuzz target for FUZZ_SECONDS (60) each
	fuzz/run.sh

simulate: ## the judge in made-up worlds, SIMULATE_TIMES (20) as often as in `make test`, with tables
	COALMINE_SIMULATE_TIMES=$(SIMULATE_TIMES) $(CARGO) test --locked --test it judged:: -- --nocapture --test-threads=1

mutants: ## mutants of src/core that no test finds out; FILE takes a part, as src/core/stats/rate.rs
	tests/real/mutants/setup.sh target/real
	tests/real/mutants/run.sh $(FILE)

soak: ## a million requests more leave no memory, series, descriptors or threads behind
	COALMINE_SOAK=1000000 $(CARGO) test --locked --test it -- raw::memory::many --nocapture

streams: ## writes config/streams anew, by their seeds
	COALMINE_WRITE_STREAMS=1 $(CARGO) test --locked --test it streams::shipped::what_is_shipped

demo: ## a good model promoted and a bad one rolled back, in about half a minute
	$(CARGO) run --release --locked -- demo

fmt: ## formats the code
	$(CARGO) fmt
