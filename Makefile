# anomalyd: every target is explained by `make help`.

VERSION := 0.1.0
PREFIX ?= /usr/local
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
LUA_DIR = $(PREFIX)/share/anomalyd/lua
MODULE_DIR = $(PREFIX)/lib/anomalyd
SCRIPTS_DIR = $(SYSCONFDIR)/anomalyd/scripts

BUILD ?= build
LUA ?= lua5.4
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(Q),@printf '  %-6s %s\n' '$(1)' '$(2)')

ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --no-builtin-rules --no-print-directory -j$(shell nproc 2>/dev/null || echo 2)
endif
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:

# ---- what is compiled how -----------------------------------------------------------------------

PACKAGES := lua5.4 libevent libevent_pthreads libevent_openssl libssl libcurl libcrypto expat libedit
WARN := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wwrite-strings -Wvla -Wformat=2
OPT ?= $(if $(SAN),-O1,-O2)
CFLAGS ?= -g
HARDEN := $(if $(SAN),,-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
SAN_FLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
# pkg-config is asked once, when the first recipe needs it: by then bootstrap has run.
PACKAGE_CFLAGS = $(eval PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES)))$(PACKAGE_CFLAGS)
PACKAGE_LIBS = $(eval PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES)))$(PACKAGE_LIBS)
# -ffp-contract=off and -fno-builtin-pow: the forest's numbers are equal to the last bit to
# scikit-learn's, which a fused multiply-add or pow() turned into exp2() would change.
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Isrc -I$(BUILD)/gen $(OPT) $(WARN) $(if $(WERROR),-Werror) \
             -fPIC -fvisibility=hidden -pthread -ffp-contract=off -fno-builtin-pow \
             $(HARDEN) $(CPPFLAGS) $(CFLAGS) $(SAN_FLAGS) $(PACKAGE_CFLAGS)
ALL_LDFLAGS = -pthread -Wl,--as-needed $(if $(SAN),,-Wl$(,)-z$(,)relro$(,)-z$(,)now) \
              $(LDFLAGS) $(SAN_FLAGS)
, := ,

CORE := $(wildcard src/core/*.c)
RUN := $(wildcard src/run/*.c)
BIND := $(wildcard src/bind/*.c)
# Modules that a stock lua5.4 can require as well: src/bind/l_NAME.c -> build/lua/NAME.so, with
# what it needs of the other files. These are the host's alone:
HOST_MODULES := console_client console_server host line_edit server task watch
MODULES := $(filter-out $(HOST_MODULES),$(patsubst src/bind/l_%.c,%,$(wildcard src/bind/l_*.c)))
SHARED_BIND := src/bind/l_column.c \
               $(filter-out $(addprefix src/bind/,compiled.c task.c wait.c host.c l_%),$(BIND))

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
SO := $(MODULES:%=$(BUILD)/lua/%.so)
PROGRAM := $(if $(wildcard src/main.c),$(BUILD)/anomalyd)
SPEC_PROGRAMS := $(patsubst spec/support/%.c,$(BUILD)/spec/%,$(wildcard spec/support/*.c))
FUZZERS := $(patsubst spec/fuzz/%_fuzz.c,%,$(wildcard spec/fuzz/*_fuzz.c))

# ---- what must be installed first ---------------------------------------------------------------

BOOTSTRAP ?= scripts/bootstrap.sh
NEEDS_check := run test check
NEEDS_lint := check
NEEDS_model := check
NEEDS_fmt := check
NEEDS_asan := run test check
NEEDS_fuzz := run check
NEEDS_test := run test
NEEDS_run := run
NEEDS_bench := run test
NEEDS_produce := run
NEEDS_deb := run deb
NEEDS_package-check := run deb
NEEDS_systemd-check := run deb
GROUPS := $(sort $(foreach goal,$(MAKECMDGOALS),$(NEEDS_$(goal))))

.PHONY: all so run produce test check layers lint fmt asan fuzz fuzzers bench install deb \
        package-check systemd-check clean help spec-programs bootstrap fresh FORCE
all: so $(PROGRAM) ## build build/anomalyd and the Lua modules in build/lua/ (the default)
	@:

bootstrap:
	$(Q)$(if $(GROUPS),$(BOOTSTRAP) $(GROUPS),:)

# ---- the rules ----------------------------------------------------------------------------------

# Everything compiled depends on these two, which change only when what they say changes.
define replace_if_changed
	@mkdir -p $(@D)
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
endef

$(BUILD)/flags: FORCE | bootstrap
	@command -v pkg-config >/dev/null && pkg-config --exists $(PACKAGES) || { \
	    echo 'make: what anomalyd is built with is not there: run scripts/bootstrap.sh run' >&2; \
	    exit 1; }
	@mkdir -p $(@D)
	@printf '%s\n' '$(CC) $(ALL_CFLAGS) / $(ALL_LDFLAGS) $(PACKAGE_LIBS)' >$@.new
	$(replace_if_changed)

$(BUILD)/gen/paths.h: FORCE
	@mkdir -p $(@D)
	@printf '#define %s "%s"\n' ANOMALYD_VERSION '$(VERSION)' ANOMALYD_LUA_DIR '$(LUA_DIR)' \
	    ANOMALYD_MODULE_DIR '$(MODULE_DIR)' ANOMALYD_SCRIPTS_DIR '$(SCRIPTS_DIR)' >$@.new
	$(replace_if_changed)

$(BUILD)/obj/%.o: %.c $(BUILD)/flags | $(BUILD)/gen/paths.h
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

define archive
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^
endef
$(BUILD)/libcore.a: $(call obj,$(CORE))
	$(archive)
$(BUILD)/librun.a: $(call obj,$(RUN))
	$(archive)
$(BUILD)/libbind.a: $(call obj,$(SHARED_BIND))
	$(archive)

so: $(SO) ## build only the Lua modules
	@:
$(BUILD)/lua/%.so: $(BUILD)/obj/src/bind/l_%.o $(BUILD)/libbind.a $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,SO,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -shared -o $@ $^ $(ALL_LDFLAGS) \
	    $(shell pkg-config --libs libcurl libcrypto expat) -lm

# The Lua files, compiled: see src/bind/compiled.h.
$(BUILD)/gen/library.bin: src/bind/compiled.lua $(sort $(wildcard lua/*.lua scripts/*.lua)) \
                          | $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LUAC,$@)
	$(Q)md5sum $(filter-out $<,$^) | $(LUA) $< $@
$(BUILD)/gen/library.s: $(BUILD)/gen/library.bin
	@printf '%s\n' '.section .rodata' '.global compiled_library, compiled_library_end' \
	    '.hidden compiled_library, compiled_library_end' 'compiled_library: .incbin "$<"' \
	    'compiled_library_end:' '.section .note.GNU-stack, "", %progbits' >$@
$(BUILD)/gen/library.o: $(BUILD)/gen/library.s $(BUILD)/flags
	$(Q)$(CC) -c -o $@ $<

# liblua is linked as a shared library, so that other people's modules (cjson) find Lua in it.
$(BUILD)/anomalyd: $(call obj,src/main.c $(BIND) $(RUN) $(CORE)) $(BUILD)/gen/library.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(PACKAGE_LIBS) -lm

spec-programs: $(SPEC_PROGRAMS)
	@:
$(BUILD)/spec/%: $(BUILD)/obj/spec/support/%.o $(BUILD)/librun.a $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(PACKAGE_LIBS) -lm

# ---- using it -----------------------------------------------------------------------------------

HOST ?= 127.0.0.1
PORT ?= 8000
BUCKET_NAME ?= $(BUILD)/bucket
# How a script of ours runs in a stock Lua, from here.
LUA_HERE = LUA_PATH='lua/?.lua;;' LUA_CPATH='$(BUILD)/lua/?.so;;' $(LUA)

run: all ## serve at http://127.0.0.1:8000 (HOST=, PORT=, BUCKET_NAME=); a new bucket gets sample data
	$(Q)case '$(BUCKET_NAME)' in */*|.*) ls '$(BUCKET_NAME)'/raw/*.csv >/dev/null 2>&1 || \
	    $(LUA_HERE) scripts/test_producer.lua --bucket '$(BUCKET_NAME)' --backfill 5 --seed 1 ;; esac
	@printf '\n'; printf '  http://$(HOST):$(PORT)%s\n' /docs /health /anomalies/summary \
	    '/anomalies/recent?limit=50' /baseline/current
	@printf '\n  %s\n\n' 'Drop CSV files into $(BUCKET_NAME)/raw, edit scripts/ meanwhile; Ctrl-C stops.'
	$(Q)exec $(BUILD)/anomalyd serve --reload --host '$(HOST)' --port '$(PORT)' \
	    --bucket '$(BUCKET_NAME)'

produce: all ## put a batch of sample data into BUCKET_NAME every INTERVAL_SECONDS (60)
	$(Q)$(LUA_HERE) scripts/test_producer.lua --bucket '$(BUCKET_NAME)'

# A script that was edited where it is installed stays; the new one is laid beside it.
install: all ## install below PREFIX (/usr/local), DESTDIR before it
	install -D -m 755 -t '$(DESTDIR)$(PREFIX)/bin' $(PROGRAM)
	install -D -m 644 -t '$(DESTDIR)$(MODULE_DIR)' $(SO)
	cd lua && find . -name '*.lua' -exec install -D -m 644 {} '$(DESTDIR)$(LUA_DIR)/{}' \;
	@cd scripts && for file in *.lua; do \
	    to='$(DESTDIR)$(SCRIPTS_DIR)'/$$file; \
	    if [ -e "$$to" ] && ! cmp -s "$$file" "$$to"; then \
	        echo "$$to was edited: the new one is $$to.new"; to=$$to.new; fi; \
	    install -D -m 644 "$$file" "$$to" || exit 1; done
	@to='$(DESTDIR)$(SYSCONFDIR)/anomalyd/env'; \
	    [ -e "$$to" ] || install -D -m 640 scripts/deploy/env "$$to"
	install -D -m 644 -t '$(DESTDIR)$(PREFIX)/share/man/man1' scripts/deploy/anomalyd.1
	install -D -m 644 scripts/deploy/anomalyd.bash-completion \
	    '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/anomalyd'
	@install -d '$(DESTDIR)$(PREFIX)/lib/systemd/system'
	sed 's,/usr/bin/anomalyd,$(PREFIX)/bin/anomalyd,; s,-/etc/anomalyd,-$(SYSCONFDIR)/anomalyd,' \
	    scripts/deploy/anomalyd.service >'$(DESTDIR)$(PREFIX)/lib/systemd/system/anomalyd.service'

# A build of its own: the paths of /usr are compiled in.
deb: ## build a Debian package in build/deb (with dpkg-deb; lintian and a try-out: make package-check)
	$(Q)rm -rf $(BUILD)/deb/root
	$(Q)$(MAKE) BUILD=$(BUILD)/deb/build VERSION='$(VERSION)' PREFIX=/usr \
	    CFLAGS='-g -ffile-prefix-map=$(CURDIR)=.' DESTDIR='$(abspath $(BUILD))/deb/root' install
	$(Q)scripts/deploy/deb.sh '$(BUILD)/deb/root' '$(VERSION)' '$(BUILD)/deb'

package-check: ## install, upgrade and remove the package in an empty Debian 12 (as root)
	$(Q)scripts/check/package.sh

systemd-check: ## boot an empty Debian under systemd-nspawn and prove the unit there (as root)
	$(Q)scripts/check/systemd.sh

bench: all ## time the parts (the forest beside scikit-learn, where it is), and a burst of files
	$(Q)for script in $(filter-out %/burst.lua,$(wildcard scripts/bench/*.lua)); do \
	    $(LUA_HERE) $$script quick || exit 1; done
	$(Q)$(BUILD)/anomalyd -l scripts/bench/burst.lua

# ---- testing it ---------------------------------------------------------------------------------

SUITES := unit $(if $(PROGRAM),host) $(if $(wildcard spec/functional/*_spec.lua),functional)

test: all spec-programs ## run every spec: modules in a stock lua5.4, in the host, then the service
	$(Q)LUA='$(LUA)' ANOMALYD_BUILD=$(BUILD) $(LUA) spec/suites.lua $(SUITES)

ASAN_ENV = ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1 \
           UBSAN_OPTIONS=print_stacktrace=1
asan: all ## run every spec against a build with AddressSanitizer and UBSan
	$(Q)$(MAKE) BUILD=$(BUILD)/asan SAN=address,undefined LUA_DIR='$(CURDIR)/lua' all spec-programs
	$(Q)$(ASAN_ENV) ANOMALYD_BUILD=$(BUILD)/asan LUA=$(abspath $(BUILD)/asan/spec/lua) \
	    ANOMALYD_PLAIN_BUILD=$(BUILD) ANOMALYD_PLAIN_LUA='$(LUA)' $(LUA) spec/suites.lua $(SUITES)

# ---- fuzzing it ---------------------------------------------------------------------------------

FUZZ_SECONDS ?= 60
FUZZ_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1
FUZZ_CFLAGS = $(filter-out -O% -D_FORTIFY_SOURCE=%,$(ALL_CFLAGS)) $(FUZZ_FLAGS)
FUZZ_LIBS := $(BUILD)/fuzz/libbind.a $(BUILD)/fuzz/librun.a $(BUILD)/fuzz/libcore.a

$(BUILD)/fuzz/obj/%.o: %.c $(BUILD)/flags | $(BUILD)/gen/paths.h
	@mkdir -p $(@D)
	$(call say,CC,$< for fuzzing)
	$(Q)$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
$(BUILD)/fuzz/libcore.a: $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(CORE))
	$(archive)
$(BUILD)/fuzz/librun.a: $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(RUN))
	$(archive)
$(BUILD)/fuzz/libbind.a: $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(sort $(MODULES:%=src/bind/l_%.c) $(SHARED_BIND)))
	$(archive)
$(BUILD)/fuzz/%: $(BUILD)/fuzz/obj/spec/fuzz/%_fuzz.o $(FUZZ_LIBS)
	$(call say,LINK,$@)
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer -pthread -o $@ $^ $(PACKAGE_LIBS) -lm

fuzzers: $(FUZZERS:%=$(BUILD)/fuzz/%)
	@:
fuzz: $(FUZZERS:%=fuzz-%) ## run every fuzzer for FUZZ_SECONDS (60)
	@:
fuzz-%: $(BUILD)/fuzz/%
	@mkdir -p $(BUILD)/fuzz/corpus/$*
	$(Q)$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 \
	    -artifact_prefix=$(BUILD)/fuzz/$*- $(BUILD)/fuzz/corpus/$* $(wildcard spec/fuzz/corpus/$*) \
	    >$(BUILD)/fuzz/$*.log 2>&1 && \
	    echo "fuzz $*: $$(sed -n 's/^Done //p' $(BUILD)/fuzz/$*.log)" || \
	    { tail -n 60 $(BUILD)/fuzz/$*.log; echo "fuzz $*: failed"; exit 1; }

# ---- checking it --------------------------------------------------------------------------------

CLANG ?= clang-19
CLANG_FORMAT ?= clang-format-19
CLANG_TIDY ?= clang-tidy-19
C_FILES = $(wildcard src/*.[ch] src/*/*.[ch] spec/support/*.[ch] spec/fuzz/*.[ch])
CHECKS := layers deploy format luacheck cppcheck tidy warnings-gcc warnings-clang model asan \
          short-fuzz

# Taken out because they were wrong about this code; clang-tidy and the sanitizers look for the same.
CPPCHECK_OFF := missingIncludeSystem normalCheckLevelMaxBranches uninitvar shiftNegativeLHS memleak \
                arrayIndexThenCheck

.PHONY: deploy format luacheck cppcheck tidy warnings-gcc warnings-clang short-fuzz model
check: | bootstrap ## every check: layers, format, linters, warnings as errors, sanitizers, fuzzers
	@failed=; for step in $(CHECKS); do \
	    if $(MAKE) BOOTSTRAP=: $$step; then echo "check: $$step passed"; \
	    else echo "check: $$step failed"; failed="$$failed $$step"; fi; done; \
	if [ -n "$$failed" ]; then echo "make check failed:$$failed"; exit 1; fi

layers: ## check that no file uses what is above it
	$(Q)$(LUA) scripts/check/layers.lua

deploy: ## check that the templates for EC2 fit the code, and each other
	$(Q)$(LUA) scripts/check/deploy.lua

lint: | bootstrap ## the quick checks only: layers, format, linters
	$(Q)$(MAKE) BOOTSTRAP=: layers deploy format luacheck cppcheck tidy

fmt: | bootstrap ## format the C sources
	$(Q)$(CLANG_FORMAT) -i $(C_FILES)
format: | bootstrap
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)
luacheck: | bootstrap
	$(Q)luacheck -q --no-color $(wildcard lua scripts spec)
cppcheck: | bootstrap
	@mkdir -p $(BUILD)/cppcheck
	$(Q)cppcheck --quiet --std=c11 --enable=warning,portability,performance --inline-suppr \
	    $(CPPCHECK_OFF:%=--suppress=%) --error-exitcode=1 --cppcheck-build-dir=$(BUILD)/cppcheck \
	    -D_GNU_SOURCE -Isrc -I$(BUILD)/gen src
tidy: $(patsubst %.c,$(BUILD)/tidy/%.ok,$(filter src/%.c,$(C_FILES)))
$(BUILD)/tidy/%.ok: %.c .clang-tidy $(BUILD)/flags $(filter %.h,$(C_FILES)) | $(BUILD)/gen/paths.h
	@mkdir -p $(@D)
	$(call say,TIDY,$<)
	$(Q)$(CLANG_TIDY) --quiet --warnings-as-errors='*' $< -- $(ALL_CFLAGS) \
	    $(if $(filter src/bind/%,$<),-include scripts/check/noreturn.h) 2>$@.log || \
	    { grep -v 'warnings generated' $@.log >&2; exit 1; }
	@touch $@
warnings-gcc:
	$(Q)$(MAKE) BUILD=$(BUILD)/warnings-gcc CC=gcc WERROR=1 all spec-programs
warnings-clang:
	$(Q)$(MAKE) BUILD=$(BUILD)/warnings-clang CC=$(CLANG) WERROR=1 all spec-programs
model: | bootstrap ## search the model of the protocol with spin, and find its planted defects
	$(Q)CC='$(CC)' spec/model/check.sh $(BUILD)
short-fuzz:
	$(Q)$(MAKE) WERROR=1 FUZZ_SECONDS=5 fuzz

fresh: ## prove it on an empty Debian: DIST=bookworm|trixie, GOAL=test|run|ci (as root)
	$(Q)scripts/check/fresh.sh '$(or $(DIST),bookworm)' '$(or $(GOAL),test)'

clean: ## remove build/, but for the sample bucket in it
	$(Q)find $(BUILD) -mindepth 1 -maxdepth 1 -not -name bucket -exec rm -rf {} + 2>/dev/null || :

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' \
	    $(firstword $(MAKEFILE_LIST))

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
