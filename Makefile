# nomad-dns. `make help` lists the verbs.

CC ?= cc
PKG_CONFIG ?= pkg-config
PYTHON ?= /usr/bin/python3
BUILD ?= build
PREFIX ?= /usr/local
VERSION := 0.1.0

PACKAGES := libcurl libuv libcjson ldns liburcu-qsbr liburcu-cds
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion -Wvla -Wformat=2
HARDENING := -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2 -fPIE
CFLAGS ?= -O2 -g
LDFLAGS ?=
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -Isrc $(WARNINGS) $(HARDENING) \
	$(shell $(PKG_CONFIG) --cflags $(PACKAGES)) $(CFLAGS) $(EXTRA_CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack $(LDFLAGS) $(EXTRA_LDFLAGS)
LIBS = $(shell $(PKG_CONFIG) --libs $(PACKAGES)) -lpthread -lm

SOURCES := $(filter-out src/main.c,$(wildcard src/*.c src/*/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/obj/%.o)
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))

all: $(BUILD)/nomad-dns

$(BUILD)/nomad-dns: $(BUILD)/obj/src/main.o $(BUILD)/libnomad-dns.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/libnomad-dns.a: $(OBJECTS)
	@rm -f $@
	ar rcD $@ $^

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/libnomad-dns.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Itests -MMD -MP $(ALL_LDFLAGS) -o $@ $< $(BUILD)/libnomad-dns.a $(LIBS) -lcmocka

unit: $(UNIT_TESTS)
	@for t in $^; do $$t || exit 1; done

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.PHONY: all unit clean
.DELETE_ON_ERROR:
