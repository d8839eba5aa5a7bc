/* once: the protocol of exactly once, as a model for spin (see spec/model/check.sh).
 *
 * HOSTS hosts work on one bucket with two keys. The input of key 0 may be replaced once by another
 * content. Of each host everything is modelled that the protocol rests on: the batches side by side
 * (a slot for each key), the cached baseline with its ledger, the group that shares one conditional
 * write, the index of summaries and whether it is verified, the marks that may be dropped, the
 * scored file and the summary put on condition. Each request to the bucket is one step; between any
 * two steps another host may do anything. A host may end at any step and begin anew without memory;
 * an answer may be lost, of a write that succeeded or of one that did not; a batch that is done may
 * be delivered again; the baseline may become unreadable, and its ledger be lost with it. How often
 * is bounded by the budgets below, which are shared by all.
 *
 * An ETag is modelled by what it is used for: a host remembers of the object it has seen that it is
 * unchanged, and every put takes that from all others.
 *
 * Checked: no content enters the baseline twice; no summary without a count; no result of an old
 * content over that of a newer one; where nothing can happen any more, every input is scored and
 * counted (an invalid end state otherwise).
 *
 * The BROKEN_ variants leave one rule out each; spin must find all of them.
 */
#ifndef HOSTS
#define HOSTS 2
#endif
#ifndef LIMIT
#define LIMIT 2 /* marks in the ledger; there are three contents */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef AGAIN
#define AGAIN 1
#endif

#ifndef SECOND
#define SECOND 1 /* is there an input at the second key? */
#endif
#ifndef REPLACE
#define REPLACE 1 /* may the input of the first be replaced? */
#endif

#ifndef CORRUPT
#define CORRUPT 0 /* may the baseline become unreadable? */
#endif

#define KEYS 2
#define BIT(k, c) (1 << ((k) + 2 * ((c) - 1))) /* the mark of a content */
#define BITS(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1))

/* The bucket: contents by number, 0 is no object. */
byte raw[KEYS];
byte scored[KEYS];
byte summary[KEYS];
byte counted[4]; /* what is in the baseline, by the mark's place: k + 2 * (c - 1) */
byte ledger;
bool corrupt = false; /* nobody can read it */

byte crashes = CRASHES, losses = LOSSES, again = AGAIN;

/* What each host's copy of the baseline, and what it has seen of an object, is still good for. */
bool fresh[HOSTS];
bool same_scored[HOSTS * KEYS];
bool same_summary[HOSTS * KEYS];

/* Time: who is sure of the first content of key 0, having looked a short while ago; and whether so
 * much time went by since it was replaced that none can be. */
bool sure[HOSTS];
bool aged = false;
#ifdef BROKEN_AGE
#define IS_OLD(k) false
#else
#define IS_OLD(k) ((k) == 0 && content[0] == 1 && aged)
#endif

#define IDLE 0
#define WAITING 1  /* read, parsed, waits for the baseline */
#define LOOKING 2  /* in the group, not looked up yet */
#define DOUBTED 3  /* another content's summary is there, or a write was uncertain */
#define OPEN 4     /* looked up: not done */
#define COUNTED 5  /* to put the scored file */
#define SCORED_HEAD 6
#define SCORED 7   /* to put the summary */
#define SUMMARY_HEAD 8

inline put_scored(k, c)
{
    assert(scored[k] <= c || summary[k] <= c);
    scored[k] = c;
    for (j : 0 .. HOSTS - 1) {
        same_scored[j * KEYS + k] = false;
    }
    j = 0;
}

inline put_summary(k, c)
{
    assert(summary[k] <= c);               /* never an old content's over a newer one's */
    /* Never without a count; one that was replaced may be missing in a rebuilt baseline. */
    assert(counted[k + 2 * (c - 1)] == 1 || (CORRUPT && raw[k] != c));
    summary[k] = c;
    for (j : 0 .. HOSTS - 1) {
        same_summary[j * KEYS + k] = false;
    }
    j = 0;
}

inline write_baseline(marks, new)
{
    for (j : 0 .. 2) {
        if
        :: new & (1 << j) -> counted[j]++; assert(counted[j] <= 1)
        :: else
        fi
    }
    ledger = marks;
    for (j : 0 .. HOSTS - 1) {
        fresh[j] = (j == h);
    }
    j = 0;
}

/* A host begins, without memory. */
inline forget_all()
{
    cached = false; fresh[h] = false; marks = 0; drop = 0; verified = false; held = false;
    grouped = false; looking_round = false; rebuilding = 0; scored_marks = 0; open_marks = 0;
    for (j : 0 .. KEYS - 1) {
        phase[j] = IDLE; content[j] = 0; uncertain[j] = false; index[j] = 0; snap[j] = 0;
        touched[j] = false; seen_scored[j] = false; seen_summary[j] = false;
        same_scored[h * KEYS + j] = false; same_summary[h * KEYS + j] = false;
    }
    j = 0;
    sure[h] = false
}

inline end_slot(k)
{
    phase[k] = IDLE; content[k] = 0; uncertain[k] = false;
    seen_scored[k] = false; seen_summary[k] = false;
    same_scored[h * KEYS + k] = false; same_summary[h * KEYS + k] = false;
}

/* The index learns what this host wrote or read itself. */
inline known(k)
{
    index[k] = content[k];
    touched[k] = looking_round
}

/* Nothing more is to be written for this content. */
inline finished(k)
{
    if
    :: !cached || (marks & BIT(k, content[k])) -> drop = drop | BIT(k, content[k])
    :: else
    fi;
    end_slot(k)
}

/* The input holds another content by now. Was this one counted, its mark is left to the rule of
 * time: another host may still hold the old content and would count it again. */
inline superseded(k)
{
#ifdef BROKEN_SUPERSEDED
    finished(k)
#else
    end_slot(k)
#endif
}

inline load() { cached = true; fresh[h] = true; marks = ledger; verified = false; held = false }

inline drop_cache()
{
    cached = false; fresh[h] = false; verified = false; held = false; marks = 0
}

/* The answer of a write of the group: `new` was folded in. */
inline group_again(new)
{
    grouped = false;
    for (j : 0 .. KEYS - 1) {
        if
        :: phase[j] == OPEN -> phase[j] = WAITING
        :: else
        fi
    }
    j = 0
}

/* The group is looked up: fold and write. */
inline commit()
{
    new = 0;
    for (j : 0 .. KEYS - 1) {
        if
        :: phase[j] == OPEN && !(marks & BIT(j, content[j])) -> new = new | BIT(j, content[j])
        :: phase[j] == OPEN && (marks & BIT(j, content[j])) ->
            phase[j] = COUNTED;
            drop = drop & ~BIT(j, content[j])
        :: else
        fi
    }
    j = 0;
    if
    :: new == 0 -> grouped = false
    :: new != 0 && BITS((marks & ~drop) | new) > LIMIT ->
        /* What does not fit waits; one of two may fit. */
        if
        :: (new & 5) && (new & 2) && BITS((marks & ~drop) | (new & 5)) <= LIMIT ->
            new = new & 5; phase[1] = WAITING; write_group()
        :: else -> group_again(new); drop_cache()
        fi
    :: else -> write_group()
    fi
}

inline write_group()
{
    if
    :: !fresh[h] -> group_again(new); drop_cache() /* a conflict: from the start */
    :: fresh[h] ->
        marks = (marks & ~drop) | new;
        if
        :: true ->
            write_baseline(marks, new);
            drop = drop & marks;
            grouped = false;
            for (j : 0 .. KEYS - 1) {
                if
                :: phase[j] == OPEN ->
                    phase[j] = COUNTED;
#ifdef BROKEN_DROP
                    drop = drop | BIT(j, content[j])
#endif
                :: else
                fi
            }
            j = 0
        :: losses > 0 -> /* the answer is lost, with or without the write */
            losses--;
            if
            :: write_baseline(marks, new)
            :: skip
            fi;
            for (j : 0 .. KEYS - 1) {
                if
                :: phase[j] == OPEN -> uncertain[j] = true
                :: else
                fi
            }
            j = 0;
            group_again(new);
            drop_cache()
        fi
    fi;
}

/* What a rebuilt baseline counts. It takes the place of the unreadable one, and of no other. */
inline write_rebuilt()
{
    for (j : 0 .. 2) {
        counted[j] = ((scored_marks | open_marks) >> j) & 1
    }
    for (j : 0 .. HOSTS - 1) {
        fresh[j] = false
    }
    j = 0;
    ledger = open_marks;
    corrupt = false;
    load()
}

/* A put on condition of the scored file or of the summary, by way of `object`. */
#define MAY_PUT(object, seen, same, k) ((!seen[k] && object[k] == 0) || (seen[k] && same[h * KEYS + k]))

inline note_open() { sure[h] = (phase[0] == OPEN && content[0] == 1) }
#if HOSTS == 1
#define ANY_SURE (sure[0])
#elif HOSTS == 2
#define ANY_SURE (sure[0] || sure[1])
#else
#define ANY_SURE (sure[0] || sure[1] || sure[2])
#endif

#define LOOKS(k) (phase[k] == LOOKING || phase[k] == DOUBTED)
#define IN_GROUP(k) (LOOKS(k) || phase[k] == OPEN)

/* A mark that is not ours, whose batch is done. */
inline settle(k, c)
{
    if
    :: cached && (marks & BIT(k, c)) && content[k] != c && index[k] == c ->
        drop = drop | BIT(k, c)
    :: else
    fi
}

/* Has the slot a step of its own? Waiting and looked-up ones go on with their group. */
#define CAN_STEP(k)                                                                                \
    ((phase[k] == IDLE && (index[k] != raw[k] || (again > 0 && !verified && raw[k] != 0))) ||       \
     (phase[k] != IDLE && phase[k] != WAITING && phase[k] != OPEN))

proctype Host(byte h)
{
    bool cached, verified, held, grouped, looking_round;
    byte marks, drop, new, j, k;
    byte rebuilding, scored_marks, open_marks;
    byte phase[KEYS], content[KEYS], index[KEYS], snap[KEYS];
    bool uncertain[KEYS], touched[KEYS], seen_scored[KEYS], seen_summary[KEYS];

end:
    do
    /* ---- any of the two slots takes a step ---- */
    :: atomic {
        CAN_STEP(0) || CAN_STEP(1) ->
        if
        :: CAN_STEP(0) -> k = 0
        :: CAN_STEP(1) -> k = 1
        fi;
        if
        /* An event, or a look for what is open: the input is read. */
        :: phase[k] == IDLE && index[k] != raw[k] ->
            content[k] = raw[k]; phase[k] = WAITING
        :: phase[k] == IDLE && index[k] == raw[k] && again > 0 && !verified ->
            /* delivered again to a host whose index is not consulted */
            again--;
            content[k] = raw[k]; phase[k] = WAITING
        /* The group asks the bucket how the batch stands. */
        :: phase[k] == LOOKING ->
            if
            :: summary[k] == content[k] -> known(k); finished(k)
            :: summary[k] == 0 && !uncertain[k] && !IS_OLD(k) -> phase[k] = OPEN; note_open()
            :: else ->
                seen_summary[k] = (summary[k] != 0);
                same_summary[h * KEYS + k] = true;
                phase[k] = DOUBTED
            fi
        :: phase[k] == DOUBTED ->
#ifdef BROKEN_FENCE
            phase[k] = OPEN
#else
            if
            :: raw[k] == content[k] -> phase[k] = OPEN; note_open()
            :: else -> superseded(k)
            fi
#endif
        /* The scored file. */
        :: phase[k] == COUNTED ->
            if
            :: MAY_PUT(scored, seen_scored, same_scored, k) ->
                put_scored(k, content[k]);
                if
                :: phase[k] = SCORED
                :: losses > 0 -> losses--; end_slot(k) /* later, from the start */
                fi
            :: else -> /* a conflict: see what is there */
                seen_scored[k] = (scored[k] != 0);
                same_scored[h * KEYS + k] = true;
                phase[k] = SCORED_HEAD
            fi
        :: phase[k] == SCORED_HEAD ->
#ifdef BROKEN_PUT
            phase[k] = COUNTED
#else
            if
            :: raw[k] == content[k] -> phase[k] = COUNTED
            :: else -> superseded(k)
            fi
#endif
        /* The summary. */
        :: phase[k] == SCORED ->
            if
            :: MAY_PUT(summary, seen_summary, same_summary, k) ->
                put_summary(k, content[k]);
                if
                :: known(k); finished(k)
                :: losses > 0 -> losses--; end_slot(k)
                fi
            :: else ->
                seen_summary[k] = (summary[k] != 0);
                same_summary[h * KEYS + k] = true;
                if
                :: summary[k] == content[k] -> known(k); finished(k)
                :: true -> phase[k] = SUMMARY_HEAD
                fi
            fi
        :: phase[k] == SUMMARY_HEAD ->
#ifdef BROKEN_PUT
            phase[k] = SCORED
#else
            if
            :: raw[k] == content[k] -> phase[k] = SCORED
            :: else -> superseded(k)
            fi
#endif
        fi;
        k = 0
      }
    /* ---- the group: the baseline is at hand or read; a verified index spares the looking ---- */
    :: atomic {
        !grouped && (phase[0] == WAITING || phase[1] == WAITING) && (cached || !corrupt) ->
        grouped = true;
#ifdef BROKEN_ORDER
        /* The summaries are looked for before the baseline is read. */
        for (j : 0 .. KEYS - 1) {
            if
            :: !cached && phase[j] == WAITING && summary[j] == 0 && !uncertain[j] -> phase[j] = OPEN
            :: else
            fi
        }
        j = 0
      }
    :: atomic {
        grouped && !cached && !LOOKS(0) && !LOOKS(1) ->
#endif
        if
        :: !cached -> load()
        :: cached
        fi;
        for (j : 0 .. KEYS - 1) {
            if
            :: phase[j] == WAITING && verified && !uncertain[j] && !IS_OLD(j) && index[j] == 0 ->
                phase[j] = OPEN
            :: phase[j] == WAITING && verified && !uncertain[j] && index[j] == content[j] ->
                finished(j)
            :: phase[j] == WAITING && (!verified || uncertain[j] || (IS_OLD(j) && index[j] == 0) ||
                (index[j] != 0 && index[j] != content[j])) -> phase[j] = LOOKING
            :: else
            fi
        }
        j = 0;
        note_open()
      }
    :: atomic {
        grouped && cached && !LOOKS(0) && !LOOKS(1) ->
        commit();
        new = 0;
        note_open()
      }
    /* Others than the group read the baseline too. */
    :: atomic { !cached && !grouped && !corrupt -> load() }
#if CORRUPT
    /* The baseline cannot be read: it is made anew from the summaries, then from the inputs that
     * have none, which are in the new ledger. */
    :: atomic {
        corrupt && !cached && !grouped && rebuilding == 0 ->
        rebuilding = 1;
        for (j : 0 .. KEYS - 1) {
            if
            :: summary[j] != 0 -> scored_marks = scored_marks | BIT(j, summary[j])
            :: else
            fi
        }
        j = 0
      }
    :: atomic {
        rebuilding == 1 ->
        rebuilding = 2;
#ifndef BROKEN_REBUILD
        for (j : 0 .. KEYS - 1) {
            if
            :: raw[j] != 0 && !(scored_marks & BIT(j, raw[j])) ->
                open_marks = open_marks | BIT(j, raw[j])
            :: else
            fi
        }
        j = 0
#endif
      }
    :: atomic {
        rebuilding == 2 ->
        if
        :: corrupt -> write_rebuilt()
        :: else
        fi;
        rebuilding = 0; scored_marks = 0; open_marks = 0
      }
#endif
    /* ---- the index is brought up to the bucket, and marks that others left are settled ---- */
    :: atomic {
        !looking_round && (index[0] != summary[0] || index[1] != summary[1] ||
            (cached && !verified)) ->
        looking_round = true; held = cached; snap[0] = summary[0]
      }
    :: atomic {
        looking_round ->
        snap[1] = summary[1];
        for (j : 0 .. KEYS - 1) {
            if
            :: !touched[j] -> index[j] = snap[j]
            :: else
            fi;
            snap[j] = 0; touched[j] = false
        }
        j = 0;
#ifdef BROKEN_INDEX
        verified = cached;
#else
        verified = cached && held;
#endif
        looking_round = false; held = false;
        settle(0, 1);
        settle(0, 2);
        settle(1, 1)
      }
    /* A mark whose input holds another content, for so long that nobody is left who has just seen
     * the old content in place: whoever still holds it must look again. */
    :: atomic {
        cached && (marks & ~drop & BIT(0, 1)) && content[0] != 1 && raw[0] != 1 && !ANY_SURE ->
        aged = true;
        drop = drop | BIT(0, 1)
      }
    /* ---- the end of a host, and its new life ---- */
    :: atomic { crashes > 0 -> crashes--; forget_all() }
    od
}

/* The one who puts inputs. */
proctype Producer()
{
    if
    :: raw[0] = 2
    :: skip
    fi
}

/* The one who puts a baseline that cannot be read in the place of ours. */
proctype Vandal()
{
    if
    :: atomic {
        corrupt = true; ledger = 0;
        byte j;
        for (j : 0 .. HOSTS - 1) {
            fresh[j] = false
        }
      }
    :: skip
    fi
}

/* When no host can do anything any more, all must be done: this process then still has a step,
 * which fails; timeout is true exactly when all others are blocked. */
proctype Judge()
{
    timeout ->
    assert(summary[0] == raw[0] && summary[1] == raw[1]);
    assert(scored[0] == raw[0] && scored[1] == raw[1]);
    assert(counted[0 + 2 * (raw[0] - 1)] == 1 && counted[1] == SECOND)
}

init
{
    atomic {
        raw[0] = 1;
        raw[1] = SECOND;
#if REPLACE
        run Producer();
#endif
#if CORRUPT
        run Vandal();
#endif
        run Judge();
        byte i;
        for (i : 0 .. HOSTS - 1) {
            run Host(i)
        }
    }
}
