# Two commands: `make run` starts Tollgate on this machine, `make test` runs every test. Both install what is missing.
.PHONY: help run demo test lint test-clients bench catalogue simulate mutants-budget fuzz

DATA_DIR ?= .tollgate

help:
	@echo "make run           start Tollgate on this machine over SQLite (data under $(DATA_DIR))"
	@echo "make demo          a governed request, a refusal, a revocation, a budget that ends and the audit log, as a story that ends by itself"
	@echo "make test          every test, over SQLite and PostgreSQL"
	@echo "make lint          formatting, clippy, and the checks of the data files"
	@echo "make test-clients  agents and SDKs through Tollgate, against every dialect (installs them from npm and PyPI)"
	@echo "make simulate      budgets in simulated fleets: SEEDS=100000 plays so many stories, SEED=42 shows one event by event"
	@echo "make mutants-budget  plants faults in the budgets' state machines and fails when the tests miss one"
	@echo "make fuzz          the decoders of core/dialect, the scanner of core/scan and core/openapi against libFuzzer, each for TIME=600 seconds (needs nightly Rust); TARGETS='sse split' runs two"
	@echo "make bench         the benchmark against a bare reverse proxy; results under bench/results/"

run:
	@scripts/install build
	cargo build --locked -p tollgate-standalone -p tollgate
	@exec target/debug/tollgate-standalone --data-dir $(DATA_DIR)

demo:
	@scripts/install build
	cargo build --locked -p tollgate-standalone -p tollgate
	@scripts/demo target/debug

test:
	@scripts/install build services python idp
	cargo build --locked --workspace --all-targets
	scripts/with-services cargo test --locked --workspace

lint:
	@scripts/install build
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	python3 scripts/catalogue.py --check
	scripts/mutants-budget --check

test-clients:
	@scripts/install build python idp
	cargo build --locked -p tollgate-standalone -p tollgate -p tollgate-simulator -p tollgate-control-plane -p tollgate-proxy
	tests/clients/run target/debug

bench:
	@scripts/install build
	bench/run

catalogue:
	@scripts/install python
	python3 scripts/catalogue.py

simulate:
	@scripts/install build
	SEEDS=$(SEEDS) SEED=$(SEED) cargo test --locked --release -p tollgate-policy --test simulation no_seed -- --nocapture

mutants-budget:
	@scripts/install build
	scripts/mutants-budget

fuzz:
	@scripts/install build fuzz
	TIME=$(TIME) scripts/fuzz $(TARGETS)
