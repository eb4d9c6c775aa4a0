# Builds and runs the fuzz harnesses: everything of src/ once more by clang, sanitized and counted.
# Called by `make fuzz`; one harness alone: make -f tests/fuzz/fuzz.mk fuzz-run HARNESSES=reply FUZZ_SECONDS=600

# Assigned before the including Makefile's defaults, so that they win.
CLANG ?= clang
override CC := $(CLANG)
FUZZ_BUILD := build/fuzz
SANITIZERS := address,undefined
EXTRA_CFLAGS := -U_FORTIFY_SOURCE -fsanitize=fuzzer-no-link,$(SANITIZERS) -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
CFLAGS := -O1 -g
override BUILD := $(FUZZ_BUILD)
FUZZ_SECONDS ?= 10
HARNESSES ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

fuzz-run:

include Makefile

PROGRAMS := $(HARNESSES:%=$(FUZZ_BUILD)/fuzz_%)

$(FUZZ_BUILD)/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.h $(FUZZ_BUILD)/libnomad-dns.a
	$(call show,FUZZ)$(CC) $(ALL_CFLAGS) -Itests -fsanitize=fuzzer $(ALL_LDFLAGS) -o $@ $< $(FUZZ_BUILD)/libnomad-dns.a $(LIBS)

fuzz-run: $(PROGRAMS)
	@$(PYTHON) tests/fuzz/seeds.py $(FUZZ_BUILD)/seeds
	@sh tests/fuzz/run.sh $(FUZZ_BUILD) $(FUZZ_SECONDS) $(HARNESSES)

.PHONY: fuzz-run
