# anomalyd: every target is explained by `make help`.

CC ?= cc
PREFIX ?= /usr/local
BUILD ?= build
OPT ?= -O2
LUA ?= lua5.4
V ?= 0
Q := $(if $(filter 1,$(V)),,@)

PACKAGES := lua5.4 libevent libevent_pthreads libcurl libcrypto expat libedit
WARN := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wwrite-strings -Wvla -Wformat=2
# -ffp-contract=off and -fno-builtin-pow: the forest's numbers are equal to the last bit to
# scikit-learn's, which a fused multiply-add or pow() turned into exp2() would change.
CFLAGS ?= -g -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Isrc $(OPT) $(WARN) -fPIC -fvisibility=hidden -pthread \
             -ffp-contract=off -fno-builtin-pow $(CFLAGS) $(if $(SAN),-fsanitize=$(SAN)) \
             $(shell pkg-config --cflags $(PACKAGES))
ALL_LDFLAGS = -pthread $(LDFLAGS) $(if $(SAN),-fsanitize=$(SAN))

CORE := $(wildcard src/core/*.c)
RUN := $(wildcard src/run/*.c)
BIND := $(wildcard src/bind/*.c)
# Modules that a stock lua5.4 can require as well: src/bind/l_NAME.c -> build/lua/NAME.so
MODULES := column iforest csv number digest directory sigv4 s3_call http
SHARED_BIND := src/bind/bridge.c src/bind/bucket_put.c src/bind/l_column.c

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
SO := $(foreach m,$(MODULES),$(if $(wildcard src/bind/l_$(m).c),$(BUILD)/lua/$(m).so))

.PHONY: all so clean test run check help
all: so

so: $(SO) ## build the Lua modules under build/lua/

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libcore.a: $(call obj,$(CORE))
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/libbind.a: $(call obj,$(wildcard $(SHARED_BIND)))
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/lua/%.so: $(BUILD)/obj/src/bind/l_%.o $(BUILD)/libbind.a $(BUILD)/libcore.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -shared -o $@ $^ -Wl,--as-needed $(ALL_LDFLAGS) \
	    $(shell pkg-config --libs libcurl libcrypto expat) -lm

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
