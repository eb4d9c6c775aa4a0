# nomad-dns. `make help` lists the verbs.

VERSION := 0.1.0

CC ?= cc
CLANG ?= clang
CLANG_FORMAT ?= clang-format
PKG_CONFIG ?= pkg-config
PYTHON ?= /usr/bin/python3
BUILD ?= build

PREFIX ?= /usr/local
DESTDIR ?=
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/nomad-dns
UNITDIR ?= $(PREFIX)/lib/systemd/system

PACKAGES := libcurl libuv libcjson ldns liburcu-qsbr liburcu-cds openssl
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion -Wvla -Wformat=2
HARDENING := -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2 -fPIE
ifneq ($(filter x86_64 i686,$(shell uname -m)),)
HARDENING += -fcf-protection=full
endif
CFLAGS ?= -O2 -g
LDFLAGS ?=

# pkg-config is asked once, and only when something is compiled: the verbs that install it come first.
LIBRARY_CFLAGS = $(eval LIBRARY_CFLAGS := $$(patsubst -I%,-isystem %,$$(shell $(PKG_CONFIG) --cflags $(PACKAGES))))$(LIBRARY_CFLAGS)
LIBS = $(eval LIBS := $$(shell $(PKG_CONFIG) --libs $(PACKAGES)) -lpthread -lm)$(LIBS)

FULL_VERSION = $(eval FULL_VERSION := $$(VERSION)$$(addprefix +g,$$(shell git rev-parse --short=10 HEAD 2>/dev/null)))$(FULL_VERSION)
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -DVERSION='"$(FULL_VERSION)"' -Isrc $(WARNINGS) $(HARDENING) \
	-ffile-prefix-map=$(CURDIR)=. $(LIBRARY_CFLAGS) $(CFLAGS) $(EXTRA_CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code $(LDFLAGS) $(EXTRA_LDFLAGS)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

SOURCES := $(filter-out src/main.c,$(wildcard src/*.c src/*/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/obj/%.o)
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
C_FILES := $(wildcard src/*.[ch] src/*/*.[ch] tests/*/*.[ch])

all: $(BUILD)/nomad-dns ## build the daemon: build/nomad-dns

help: ## this list
	@echo "nomad-dns $(FULL_VERSION). Verbs of this Makefile:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'
	@echo "Settings: CC CFLAGS LDFLAGS BUILD PREFIX DESTDIR; ARGS (run), FUZZ_SECONDS (fuzz), BENCH_ROUNDS (bench)."

# ---- building ----

# V=1 shows whole command lines.
ifdef V
show =
else
show = @printf '  %-5s %s\n' $(1) $(or $(2),$@);
endif

$(BUILD)/nomad-dns: $(BUILD)/obj/src/main.o $(BUILD)/libnomad-dns.a
	$(call show,LINK)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/libnomad-dns.a: $(OBJECTS) $(BUILD)/objects.list
	@rm -f $@
	$(call show,AR)ar rcD $@ $(OBJECTS)

$(BUILD)/obj/%.o: %.c | $(BUILD)/libraries.ok
	@mkdir -p $(@D)
	$(call show,CC,$<)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/libnomad-dns.a
	@mkdir -p $(@D)
	$(call show,TEST,$<)$(CC) $(ALL_CFLAGS) -Itests -MMD -MP $(ALL_LDFLAGS) -o $@ $< $(BUILD)/libnomad-dns.a $(LIBS) -lcmocka

# Asked before the first object: a missing library is one sentence, not a page of the compiler's.
$(BUILD)/libraries.ok:
	@mkdir -p $(@D)
	@command -v $(CC) >/dev/null 2>&1 || { echo "There is no C compiler ($(CC)) here: run \`make deps\` first." >&2; exit 1; }
	@command -v $(PKG_CONFIG) >/dev/null 2>&1 || { echo "pkg-config is not installed: run \`make deps\` first." >&2; exit 1; }
	@for p in $(PACKAGES); do $(PKG_CONFIG) --exists $$p || lost="$$lost $$p"; done; \
	[ -z "$$lost" ] || { echo "Libraries are missing ($${lost# }): run \`make deps\` first." >&2; exit 1; }
	@touch $@

# Rewritten only when its content changes: an object that went away, a new version.
$(BUILD)/objects.list: FORCE
	@mkdir -p $(@D)
	@echo '$(OBJECTS)' | cmp -s - $@ || echo '$(OBJECTS)' >$@

$(BUILD)/version: FORCE
	@mkdir -p $(@D)
	@echo '$(FULL_VERSION)' | cmp -s - $@ || echo '$(FULL_VERSION)' >$@

VERSION_USERS := $(shell grep -lwE 'VERSION' src/*.c src/*/*.c 2>/dev/null)
$(VERSION_USERS:%.c=$(BUILD)/obj/%.o): $(BUILD)/version

debug: ## build without optimisation, with sanitizers: build/debug/nomad-dns
	@$(MAKE) BUILD=build/debug CFLAGS="-Og -g3" EXTRA_CFLAGS="-U_FORTIFY_SOURCE $(SANITIZE)" EXTRA_LDFLAGS="$(SANITIZE)" all

# ---- trying it ----

run: $(BUILD)/nomad-dns ## beside a real agent (NOMAD_ADDR, else 127.0.0.1:4646); stays; ARGS="--ttl=1s"
	@echo "nomad-dns beside $${NOMAD_ADDR:-http://127.0.0.1:4646}; ask it: dig @127.0.0.1 -p 1053 SERVICE.default.nomad" >&2
	@exec $(BUILD)/nomad-dns $(ARGS)

demo: deps ## build and show it against a small made-up Nomad; needs no agent
	@$(MAKE) --no-print-directory all
	@NOMAD_DNS_BIN=$(abspath $(BUILD)/nomad-dns) bash tests/support/demo.sh

deps: ## install the Debian packages that are missing (tests/support/deps.sh has the list)
	@sh tests/support/deps.sh build test

# ---- testing ----

test: deps ## everything a change must pass: deps, build, unit, integration
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory integration

unit: $(UNIT_TESTS) ## the unit tests, stopping at the first suite that fails
	@sh tests/support/run_unit.sh $^

integration: $(BUILD)/nomad-dns ## the real binary against a made-up Nomad and upstream
	@NOMAD_DNS_BIN=$(abspath $(BUILD)/nomad-dns) PYTHON=$(PYTHON) sh tests/support/run_integration.sh $(INTEGRATION)

ASAN := BUILD=build/asan CFLAGS="-O1 -g" EXTRA_CFLAGS="-U_FORTIFY_SOURCE $(SANITIZE)" EXTRA_LDFLAGS="$(SANITIZE)"
# A load of 1,000 questions a second, whose limits a sanitized daemon on a shared core cannot keep; and the faults, which
# run by themselves, all workers in one file, beside a load that it can.
ASAN_LEAVES_OUT := --ignore=tests/integration/test_mirror_faults.py --ignore=tests/integration/test_hostile.py
asan: ## unit and integration tests under the address and undefined-behaviour sanitizers
	@$(MAKE) --no-print-directory $(ASAN) all
	@$(MAKE) --no-print-directory $(ASAN) unit
	@$(MAKE) --no-print-directory $(ASAN) integration INTEGRATION="$(ASAN_LEAVES_OUT)"
	@NOMAD_DNS_LOAD=50 $(MAKE) --no-print-directory $(ASAN) integration INTEGRATION="--dist load -k test_mirror_faults"

FUZZ_SECONDS ?= 10
fuzz: ## each parser's fuzz harness for FUZZ_SECONDS (10)
	@sh tests/support/deps.sh build fuzz
	@$(MAKE) --no-print-directory -f tests/fuzz/fuzz.mk fuzz-run FUZZ_SECONDS=$(FUZZ_SECONDS) CLANG=$(CLANG)

bench: ## one table: CPU per query beside a bare responder and unbound, memory, start
	@sh tests/support/deps.sh build bench
	@$(MAKE) --no-print-directory all
	@CC="$(CC)" $(PYTHON) tests/bench/bench.py --binary $(BUILD)/nomad-dns --build $(BUILD)/bench

freshness: ## the mirror: change to answer, 50,000 services, cost to Nomad; FRESHNESS=--short
	@sh tests/support/deps.sh build bench
	@$(MAKE) --no-print-directory all
	@$(PYTHON) tests/bench/freshness.py --binary $(BUILD)/nomad-dns $(FRESHNESS)

flood: ## a million random names, and the hit rate of the names that are asked for; FLOOD_NAMES=100000
	@sh tests/support/deps.sh build bench
	@$(MAKE) --no-print-directory all
	@$(PYTHON) tests/bench/flood.py --binary $(BUILD)/nomad-dns

faults: ## the fault table: what is lost, and how soon all is right again, with 1,000 questions a second beside each
	@sh tests/support/deps.sh build test
	@$(MAKE) --no-print-directory all
	@PYTHON=$(PYTHON) sh tests/bench/faults.sh $(BUILD)/nomad-dns

compare-forwarders: ## every way an upstream can answer, beside Debian's forwarders; COMPARE="--server unbound -v"
	@sh tests/support/deps.sh build bench forwarders
	@$(MAKE) --no-print-directory all
	@CC="$(CC)" $(PYTHON) tests/bench/compare_forwarders.py --binary $(BUILD)/nomad-dns $(COMPARE)

lint: ## the walls: format, warnings of both compilers, includes, lengths, banned words
	@sh tests/support/deps.sh build test lint
	@CC="$(CC)" CLANG="$(CLANG)" CLANG_FORMAT="$(CLANG_FORMAT)" $(PYTHON) tests/lint/walls.py -- $(ALL_CFLAGS)

format: ## clang-format everything in place
	@$(CLANG_FORMAT) -i $(C_FILES)

COVERAGE := BUILD=build/coverage CFLAGS="-O0 -g --coverage" EXTRA_CFLAGS="-U_FORTIFY_SOURCE" EXTRA_LDFLAGS="--coverage"
coverage: ## lines of src/ that the tests reach
	@$(MAKE) --no-print-directory $(COVERAGE) all
	@$(MAKE) --no-print-directory $(COVERAGE) unit
	@$(MAKE) --no-print-directory $(COVERAGE) integration
	@sh tests/support/coverage.sh build/coverage

# ---- shipping ----

UNITS := $(wildcard systemd/*.service systemd/*.socket)
EXAMPLES := $(wildcard systemd/*.d/* nomad/*.hcl)
# Units and examples name the binary where it really is.
install_with_path = mkdir -p $(DESTDIR)$(dir $(2)) && \
	sed 's|/usr/[a-z/]*bin/nomad-dns|$(SBINDIR)/nomad-dns|g' $(1) >$(DESTDIR)$(2) && \
	chmod 644 $(DESTDIR)$(2) && echo '$(1) -> $(DESTDIR)$(2)' &&

install: $(BUILD)/nomad-dns ## binary, unit, man page, licence, examples (PREFIX, DESTDIR)
	install -D -m 755 $(BUILD)/nomad-dns $(DESTDIR)$(SBINDIR)/nomad-dns
	install -D -m 644 LICENSE $(DESTDIR)$(DOCDIR)/LICENSE
	@$(foreach unit,$(UNITS),$(call install_with_path,$(unit),$(UNITDIR)/$(notdir $(unit))))true
	@$(foreach file,$(EXAMPLES),$(call install_with_path,$(file),$(DOCDIR)/examples/$(notdir $(file))))true
	@for page in $(wildcard man/*.8); do \
		install -D -m 644 $$page $(DESTDIR)$(MANDIR)/man8/$${page##*/} || exit 1; done

uninstall: ## removes what install put there
	rm -f $(DESTDIR)$(SBINDIR)/nomad-dns
	rm -f $(foreach unit,$(UNITS),$(DESTDIR)$(UNITDIR)/$(notdir $(unit)))
	rm -f $(foreach page,$(wildcard man/*.8),$(DESTDIR)$(MANDIR)/man8/$(notdir $(page)))
	rm -rf $(DESTDIR)$(DOCDIR)

DIST := nomad-dns-$(VERSION)
dist: ## build/nomad-dns-VERSION.tar.gz, the same bytes each time
	@mkdir -p build
	@git rev-parse HEAD >/dev/null 2>&1 || { echo "make dist packs what git has committed; there is no git repository here" >&2; exit 1; }
	git archive --prefix=$(DIST)/ HEAD | gzip -n9 >build/$(DIST).tar.gz
	@ls -l build/$(DIST).tar.gz

clean: ## remove build/
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj $(BUILD)/unit -name '*.d' 2>/dev/null)

FORCE:
.PHONY: all help debug run demo deps test unit integration asan fuzz bench flood lint format coverage \
	freshness faults compare-forwarders install uninstall dist clean FORCE
.DELETE_ON_ERROR:
