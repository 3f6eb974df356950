# Every target does its own set-up: see scripts/setup.

PREFIX ?= /usr/local
TARGET := $(or $(CARGO_TARGET_DIR),target)
MUSL   := $(shell uname -m)-unknown-linux-musl
DIST   := $(TARGET)/dist

# Where rustup puts cargo, for a shell that does not know it yet.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test chaos test-cgroup2 test-vm lint fmt bench bench-cgroup2 manual release install units

help: ## print this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '%-14s%s\n' "$$name" "$$text"; done

demo: ## a transcode and a live HLS channel, declared, started, edited, reported; needs ffmpeg
	@scripts/setup demo
	@scripts/demo

test: ## everything CI runs: lints, all tests, schemas, a minute of fuzzing, docs
	@scripts/setup test
	@scripts/test

chaos: ## jobs at random, supervisors and wrappers killed at random instants; MINUTES=2, SEED=, JSON=
	@scripts/setup build
	cargo test --locked --features abort-points --test crash -- \
		chaos --seconds $$(($(MINUTES) * 60)) --seed "$(SEED)" --json "$(JSON)"

MINUTES ?= 2

test-cgroup2: ## the tests on a cgroup v2 kernel of their own (user-mode Linux), which are part of test
	@scripts/setup test-cgroup2
	@scripts/lane-cgroup2

test-vm: ## the tests under a real systemd, in virtual machines with Debian 12 and 13; needs root
	@scripts/setup test-vm
	@scripts/lane-vm bookworm trixie

lint: ## formatting, clippy, licences and sources of the dependencies
	@scripts/setup lint
	scripts/fmt --check
	cargo clippy --locked --features abort-points --all-targets -- -D warnings
	cargo deny --log-level error check bans licenses sources

fmt: ## format the code
	@scripts/fmt

bench: release ## measure the release build beside references and other supervisors; ARGS="--only start"
	@scripts/setup bench
	$(BENCH) -- $(ARGS)

bench-cgroup2: release ## what limits cost, on a cgroup v2 kernel of its own (user-mode Linux); JOBS=200, ARGS=
	@scripts/setup bench-cgroup2
	$(BENCH_RUNNER)="scripts/lane-cgroup2 --run" LANE_KEEPS=bench-results LANE_SECONDS=3600 $(BENCH) -- \
		$(addprefix --only limits-,start edit profile usage) --jobs $(JOBS) --dir /tmp --json bench-results/cgroup2.json $(ARGS)

# The guest has one CPU, slow forks and little memory.
JOBS ?= 200
BENCH = FFRTMP_BIN_DIR="$(abspath $(DIST))" FFRTMP_PEERS="$(abspath $(TARGET)/peers)" RUSTFLAGS="$(STATIC)" cargo bench --locked --target $(MUSL) --bench supervision
# Cargo then starts the bench with it.
BENCH_RUNNER = CARGO_TARGET_$(shell echo $(MUSL) | tr a-z- A-Z_)_RUNNER

release: $(DIST)/ffrtmp $(DIST)/ffrtmp-sup ## static binaries in target/dist

manual: ## make the man pages and completions anew, from the command lines' definitions
	@scripts/setup build
	FFRTMP_WRITE_MANUAL=1 cargo test --locked --quiet --test manual what_is_committed

install: release ## install the release build; PREFIX=/usr/local, DESTDIR=
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(DIST)/ffrtmp $(DIST)/ffrtmp-sup
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 deployment/man/*.1
	install -D -m 644 deployment/completions/ffrtmp.bash $(COMPLETE_BASH)/ffrtmp
	install -D -m 644 deployment/completions/ffrtmp-sup.bash $(COMPLETE_BASH)/ffrtmp-sup
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/zsh/site-functions deployment/completions/_*
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d deployment/completions/*.fish
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/ffrtmp README.md CHANGELOG.md LICENSE LICENSE-MIT LICENSE-APACHE docs/*.md
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/ffrtmp/reference docs/reference/*.md
	install -D -m 644 deployment/systemd/README.md $(DESTDIR)$(PREFIX)/share/doc/ffrtmp/systemd.md
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/ffrtmp/profiles profiles/*.toml
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/ffrtmp/examples examples/*.toml
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/ffrtmp/examples/jobs.d examples/jobs.d/*.toml

COMPLETE_BASH = $(DESTDIR)$(PREFIX)/share/bash-completion/completions

# The version decides, see deployment/systemd/README.md.
SYSTEMD  ?= $(shell systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')
UNITS     = deployment/systemd/system$(shell [ "$(SYSTEMD)" -ge 254 ] 2>/dev/null || echo -before-254)
UNITS_DIR = $(DESTDIR)$(PREFIX)/lib/systemd

units: ## install the systemd units; SYSTEMD=version, PREFIX=/usr/local, DESTDIR=
	@[ "$(SYSTEMD)" -gt 0 ] || { echo "units: which version of systemd? Say SYSTEMD=257" >&2; exit 1; }
	install -D -m 644 -t $(UNITS_DIR)/system $(UNITS)/*.service
	install -D -m 644 -t $(UNITS_DIR)/user deployment/systemd/user/*.service
	install -D -m 644 -t $(UNITS_DIR)/system/user@.service.d deployment/systemd/user@.service.d/*.conf
	sed -i 's|/usr/local/|$(PREFIX)/|' $(UNITS_DIR)/system/ffrtmp-*.service $(UNITS_DIR)/user/ffrtmp-*.service

# Built anew only when the sources changed, so that `sudo make install` needs no cargo after `make release`.
# Static and not position-independent: every page that need not be relocated is shared by all wrappers.
SOURCES := Cargo.toml Cargo.lock Makefile $(shell find src profiles -type f)
STATIC  := -C target-feature=+crt-static -C relocation-model=static
# A panic of the wrapper ends it, and nothing is unwound: no tables for that.
SMALL   := $(STATIC) -C force-unwind-tables=no

# Points at which tests end a process are in no release (src/abort.rs).
CANNOT_ABORT = ! grep -q FFRTMP_ABORT_AT $@ || { echo "$@ has abort points" >&2; rm $@; exit 1; }

$(DIST)/ffrtmp: $(SOURCES)
	@scripts/setup release
	RUSTFLAGS="$(SMALL)" cargo build --locked --target $(MUSL) --profile wrapper --bin ffrtmp
	install -D -m 755 $(TARGET)/$(MUSL)/wrapper/ffrtmp $@
	@$(CANNOT_ABORT)

$(DIST)/ffrtmp-sup: $(SOURCES)
	@scripts/setup release
	RUSTFLAGS="$(STATIC)" cargo build --locked --target $(MUSL) --release --bin ffrtmp-sup
	install -D -m 755 $(TARGET)/$(MUSL)/release/ffrtmp-sup $@
	@$(CANNOT_ABORT)
