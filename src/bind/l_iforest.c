/* l_iforest: the Lua module `iforest`: isolation forests over columns, scikit-learn's to the bit.
 *
 *   iforest.fit(columns [, options])       -> forest
 *   iforest.fit_score(columns [, options]) -> {scores, decisions, labels, offset}   in one pass
 *       columns: a table of columns of one length, one for each channel
 *       options: n_estimators = 100, max_samples = "auto" (at most 256 rows, or how many rows, or,
 *       as a float in (0, 1], what share of them), contamination = 0.05 (in (0, 0.5], or "auto"),
 *       random_state = 42
 *   forest:score_samples(columns)      -> column, in [-1, 0), lower is more isolated
 *   forest:decision_function(columns)  -> column: score - offset
 *   forest:predict(columns)            -> column: -1 where the decision is below 0, else 1
 *   forest:explain(columns, row)       -> table: by how many steps each channel shortened the
 *       row's paths, on average over the trees, against what was to be expected; see
 *       iforest_explain in core/iforest.h for the definition and its source
 *   forest:tree(t)                     -> table: tree t (from 1) in scikit-learn's terms: nodes,
 *       rows and features count from 0, a leaf has feature -2 and children -1
 *   forest.offset, .n_estimators, .max_samples, .contamination, .random_state, .n_rows,
 *       .n_features, .n_nodes
 *
 * Missing cells, infinities, constant and empty channels: see core/iforest.h. When memory is short
 * the calls give nil, message, "NoMemory".
 */
#include "bind/bridge.h"
#include "bind/l_column.h"
#include "bind/modules.h"
#include "core/iforest.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FOREST "anomalyd.iforest"

/* A forest with its references: the Lua value's, and one of each operation that uses it. */
struct shared {
    atomic_int refs;
    struct iforest *forest;
};

enum kind { FIT, FIT_SCORE, SCORE, DECISION, PREDICT };

/* One heavy call. */
struct forest_op {
    struct bridge_op op;
    enum kind kind;
    struct iforest_options options;
    size_t n_columns;
    size_t n_rows;
    struct column **columns; /* references */
    const double **cells;    /* where they begin */
    struct shared *forest;   /* the one used, or the one made */
    struct column *scores;
    struct column *decisions;
    struct column *labels;
    double offset;
    struct fail fail; /* code NULL: all went well */
};

static void shared_unref(struct shared *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    iforest_free(s->forest);
    free(s);
}

static void forest_work(struct bridge_op *op, struct crew *crew)
{
    struct forest_op *f = (struct forest_op *)op;
    struct iforest_result result = {0};
    int failed;

    if (f->kind == FIT) {
        failed = iforest_fit(&f->forest->forest, f->cells, f->n_columns, f->n_rows, &f->options,
                             crew, &f->fail);
    } else if (f->kind == FIT_SCORE) {
        result.scores = f->scores->cells;
        result.decisions = f->decisions->cells;
        result.labels = f->labels->cells;
        failed = iforest_fit_score(&result, f->cells, f->n_columns, f->n_rows, &f->options, crew,
                                   &f->fail);
        f->offset = result.offset;
    } else {
        failed = iforest_score(f->forest->forest, f->cells, f->n_columns, f->n_rows,
                               f->scores->cells, crew, &f->fail);
    }
    if (failed)
        return;
    f->fail.code = NULL;
    if (f->kind == DECISION)
        iforest_decide(f->offset, f->scores->cells, f->n_rows, f->scores->cells, NULL);
    if (f->kind == PREDICT)
        iforest_decide(f->offset, f->scores->cells, f->n_rows, NULL, f->scores->cells);
}

static void forest_fini(struct bridge_op *op)
{
    struct forest_op *f = (struct forest_op *)op;

    for (size_t c = 0; f->columns != NULL && c < f->n_columns; c++)
        column_unref(f->columns[c]);
    free(f->columns);
    free(f->cells);
    shared_unref(f->forest);
    column_unref(f->scores);
    column_unref(f->decisions);
    column_unref(f->labels);
}

static const struct bridge_type types[] = {
    {"iforest.fit", sizeof(struct forest_op), NULL, forest_work, forest_fini},
    {"iforest.fit_score", sizeof(struct forest_op), NULL, forest_work, forest_fini},
    {"forest:score_samples", sizeof(struct forest_op), NULL, forest_work, forest_fini},
    {"forest:decision_function", sizeof(struct forest_op), NULL, forest_work, forest_fini},
    {"forest:predict", sizeof(struct forest_op), NULL, forest_work, forest_fini},
};

/* Check the table of columns at `arg`; its length, and in *rows the columns'. */
static size_t check_columns(lua_State *L, int arg, size_t *rows)
{
    lua_Integer n;

    luaL_argexpected(L, lua_istable(L, arg), arg, "columns: a table of columns");
    n = luaL_len(L, arg);
    luaL_argcheck(L, n >= 1, arg, "columns: at least one is needed");
    luaL_argcheck(L, n <= INT32_MAX, arg, "columns: too many");
    for (lua_Integer i = 1; i <= n; i++) {
        const struct column *c;

        lua_geti(L, arg, i);
        c = column_test(L, -1);
        if (c == NULL)
            luaL_argerror(L, arg,
                          lua_pushfstring(L, "columns: number %I is a %s, not a column",
                                          (LUAI_UACINT)i, luaL_typename(L, -1)));
        if (i > 1 && c->n != *rows)
            luaL_argerror(L, arg,
                          lua_pushfstring(L, "columns: number %I has %I cells, the first has %I",
                                          (LUAI_UACINT)i, (LUAI_UACINT)c->n, (LUAI_UACINT)*rows));
        *rows = c->n;
        lua_pop(L, 1);
    }
    return (size_t)n;
}

/* Push options[name]; its type. */
static int option(lua_State *L, int arg, const char *name)
{
    if (lua_isnoneornil(L, arg)) {
        lua_pushnil(L);
        return LUA_TNIL;
    }
    return lua_getfield(L, arg, name);
}

static int is_auto(lua_State *L)
{
    return lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "auto") == 0;
}

/* A whole number in least..most, or the default. */
static lua_Integer whole_option(lua_State *L, int arg, const char *name, lua_Integer least,
                                lua_Integer most, lua_Integer otherwise)
{
    lua_Integer value = otherwise;
    int whole = 1;

    if (option(L, arg, name) != LUA_TNIL) {
        value = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : (whole = 0);
        if (!whole || value < least || value > most)
            luaL_argerror(L, arg,
                          lua_pushfstring(L, "%s must be a whole number from %I to %I", name,
                                          (LUAI_UACINT)least, (LUAI_UACINT)most));
    }
    lua_pop(L, 1);
    return value;
}

/* Rows per tree; 0 for "auto". A float is a share of the rows, as in scikit-learn. */
static size_t samples_option(lua_State *L, int arg, size_t rows)
{
    size_t samples = 0;
    int type = option(L, arg, "max_samples");

    if (type == LUA_TNUMBER && lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1)
        samples = (size_t)lua_tointeger(L, -1);
    else if (type == LUA_TNUMBER && !lua_isinteger(L, -1) && lua_tonumber(L, -1) > 0 &&
             lua_tonumber(L, -1) <= 1)
        samples = (size_t)(lua_tonumber(L, -1) * (double)rows);
    else if (type != LUA_TNIL && !is_auto(L))
        luaL_argerror(L, arg,
                      "max_samples must be \"auto\", a whole number from 1, or a share of "
                      "the rows as a float in (0, 1]");
    else
        type = LUA_TNIL;
    lua_pop(L, 1);
    return type != LUA_TNIL && samples == 0 ? 1 : samples;
}

static double contamination_option(lua_State *L, int arg, double otherwise)
{
    double value = otherwise;

    if (option(L, arg, "contamination") != LUA_TNIL) {
        value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
        if (!is_auto(L) && !(value > 0 && value <= 0.5))
            luaL_argerror(L, arg, "contamination must be in (0, 0.5], or \"auto\"");
    }
    lua_pop(L, 1);
    return value;
}

/* Which instructions score: for tests and benchmarks. */
static enum iforest_path path_option(lua_State *L, int arg)
{
    enum iforest_path path = IFOREST_BEST;

    if (option(L, arg, "path") != LUA_TNIL) {
        const char *name = lua_tostring(L, -1);

        for (path = IFOREST_PLAIN; path > IFOREST_BEST; path--)
            if (name != NULL && strcmp(name, iforest_path_name(path)) == 0)
                break;
        if (name == NULL || (path == IFOREST_BEST && strcmp(name, "best") != 0))
            luaL_argerror(L, arg,
                          "path must be \"best\", \"portable\", \"avx2\", \"avx512\" or \"plain\"");
        luaL_argcheck(L, iforest_path_usable(path), arg, "path: this processor does not have it");
    }
    lua_pop(L, 1);
    return path;
}

static void check_options(lua_State *L, int arg, size_t rows, struct iforest_options *o)
{
    iforest_defaults(o);
    luaL_argexpected(L, lua_isnoneornil(L, arg) || lua_istable(L, arg), arg, "options: a table");
    o->n_estimators =
        (size_t)whole_option(L, arg, "n_estimators", 1, 1000000, (lua_Integer)o->n_estimators);
    o->random_state =
        (uint32_t)whole_option(L, arg, "random_state", 0, UINT32_MAX, o->random_state);
    o->max_samples = samples_option(L, arg, rows);
    o->contamination = contamination_option(L, arg, o->contamination);
    o->path = path_option(L, arg);
}

/* Take references to the columns at `arg`. The box of f is on the stack. */
static void take_columns(lua_State *L, int arg, size_t n, size_t rows, struct forest_op *f)
{
    f->columns = calloc(n, sizeof *f->columns);
    f->cells = calloc(n, sizeof *f->cells);
    if (f->columns == NULL || f->cells == NULL)
        luaL_error(L, "out of memory");
    f->n_columns = n;
    f->n_rows = rows;
    for (size_t c = 0; c < n; c++) {
        lua_geti(L, arg, (lua_Integer)c + 1);
        f->columns[c] = column_ref(column_check(L, -1));
        f->cells[c] = f->columns[c]->cells;
        luaL_argcheck(L, f->columns[c]->n == rows, arg, "columns: they changed while being read");
        lua_pop(L, 1);
    }
}

static struct column *result_column(lua_State *L, size_t n)
{
    struct column *c = column_new(n);

    if (c == NULL)
        luaL_error(L, "out of memory for a column of %I cells", (LUAI_UACINT)n);
    return c;
}

static void push_column(lua_State *L, struct column **owned)
{
    struct column **slot = column_box(L);

    *slot = *owned;
    *owned = NULL;
}

static struct shared **push_forest_box(lua_State *L)
{
    struct shared **slot = lua_newuserdatauv(L, sizeof *slot, 0);

    *slot = NULL;
    luaL_setmetatable(L, FOREST);
    return slot;
}

static int forest_done(lua_State *L, int status, lua_KContext ctx)
{
    struct forest_op *f = (struct forest_op *)ctx;
    struct shared **slot;

    (void)status;
    if (f->fail.code != NULL)
        return bridge_fail(L, &f->fail);
    if (f->kind == FIT) {
        slot = push_forest_box(L);
        *slot = f->forest;
        f->forest = NULL;
        return 1;
    }
    if (f->kind != FIT_SCORE) {
        push_column(L, &f->scores);
        return 1;
    }
    lua_createtable(L, 0, 4);
    push_column(L, &f->scores);
    lua_setfield(L, -2, "scores");
    push_column(L, &f->decisions);
    lua_setfield(L, -2, "decisions");
    push_column(L, &f->labels);
    lua_setfield(L, -2, "labels");
    lua_pushnumber(L, f->offset);
    lua_setfield(L, -2, "offset");
    return 1;
}

/* Is it worth a worker? From about a tenth of a millisecond: many batches share one loop. */
static bool is_heavy(size_t trees, size_t rows, size_t columns)
{
    return (double)trees * ((double)rows + 256) + (double)rows * (double)columns > 20000;
}

/* Begin a call on the columns at `arg`, pushing its box. */
static struct forest_op *begin(lua_State *L, enum kind kind, int arg,
                               const struct iforest_options *options, size_t n, size_t rows)
{
    struct forest_op *f = (struct forest_op *)bridge_new(L, &types[kind]);

    f->kind = kind;
    f->options = *options;
    f->fail.code = "NoMemory";
    f->op.heavy = is_heavy(options->n_estimators, rows, n);
    take_columns(L, arg, n, rows, f);
    return f;
}

static int l_fit(lua_State *L)
{
    struct iforest_options options;
    struct forest_op *f;
    size_t rows = 0;
    size_t n = check_columns(L, 1, &rows);

    check_options(L, 2, rows, &options);
    f = begin(L, FIT, 1, &options, n, rows);
    f->forest = calloc(1, sizeof *f->forest);
    if (f->forest == NULL)
        return luaL_error(L, "out of memory");
    atomic_init(&f->forest->refs, 1);
    return bridge_run(L, &f->op, forest_done);
}

static int l_fit_score(lua_State *L)
{
    struct iforest_options options;
    struct forest_op *f;
    size_t rows = 0;
    size_t n = check_columns(L, 1, &rows);

    check_options(L, 2, rows, &options);
    f = begin(L, FIT_SCORE, 1, &options, n, rows);
    f->scores = result_column(L, rows);
    f->decisions = result_column(L, rows);
    f->labels = result_column(L, rows);
    return bridge_run(L, &f->op, forest_done);
}

static struct shared *check_forest(lua_State *L)
{
    struct shared **slot = luaL_checkudata(L, 1, FOREST);

    luaL_argcheck(L, *slot != NULL, 1, "a forest that was closed");
    return *slot;
}

/* A call on a forest and other columns. */
static int score_with(lua_State *L, enum kind kind)
{
    struct iforest_options options = {0};
    struct iforest_facts facts;
    struct forest_op *f;
    size_t rows = 0;
    size_t n;

    iforest_facts(check_forest(L)->forest, &facts);
    n = check_columns(L, 2, &rows);
    if (n != facts.n_columns)
        return luaL_argerror(L, 2,
                             lua_pushfstring(L, "columns: %I, but the forest was fitted on %I",
                                             (LUAI_UACINT)n, (LUAI_UACINT)facts.n_columns));
    options.n_estimators = facts.n_estimators;
    f = begin(L, kind, 2, &options, n, rows);
    f->offset = facts.offset;
    f->forest = check_forest(L);
    atomic_fetch_add_explicit(&f->forest->refs, 1, memory_order_relaxed);
    f->scores = result_column(L, rows);
    return bridge_run(L, &f->op, forest_done);
}

static int l_score_samples(lua_State *L)
{
    return score_with(L, SCORE);
}

static int l_decision_function(lua_State *L)
{
    return score_with(L, DECISION);
}

static int l_predict(lua_State *L)
{
    return score_with(L, PREDICT);
}

static int l_explain(lua_State *L)
{
    const struct shared *s = check_forest(L);
    size_t rows = 0;
    size_t n = check_columns(L, 2, &rows);
    lua_Integer row = luaL_checkinteger(L, 3);
    struct fail fail = {0};
    double *cells;

    luaL_argcheck(L, row >= 1 && (lua_Unsigned)row <= rows, 3, "row: there is no such row");
    cells = lua_newuserdatauv(L, 2 * n * sizeof *cells, 0);
    for (size_t c = 0; c < n; c++) {
        lua_geti(L, 2, (lua_Integer)c + 1);
        cells[c] = column_check(L, -1)->cells[row - 1];
        lua_pop(L, 1);
    }
    if (iforest_explain(s->forest, cells, n, cells + n, &fail) != 0)
        return luaL_argerror(L, 2, fail.message);
    lua_createtable(L, (int)n, 0);
    for (size_t c = 0; c < n; c++) {
        lua_pushnumber(L, cells[n + c]);
        lua_seti(L, -2, (lua_Integer)c + 1);
    }
    return 1;
}

static void set_integer(lua_State *L, const char *name, size_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

/* Add the nodes of tree t to the table on top, as arrays in scikit-learn's terms. */
static void set_nodes(lua_State *L, const struct iforest *forest, size_t t, size_t n)
{
    static const char *const names[] = {"feature", "threshold",      "left",
                                        "right",   "n_node_samples", "depth"};
    enum { FIELDS = sizeof names / sizeof names[0] };
    int table = lua_gettop(L);

    luaL_checkstack(L, FIELDS + 2, "a tree");
    for (int k = 0; k < FIELDS; k++)
        lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        struct iforest_node node;
        int leaf;

        iforest_node(forest, t, i, &node);
        leaf = node.column < 0;
        lua_pushinteger(L, leaf ? -2 : node.column);
        lua_seti(L, table + 1, (lua_Integer)i + 1);
        lua_pushnumber(L, node.threshold);
        lua_seti(L, table + 2, (lua_Integer)i + 1);
        lua_pushinteger(L, leaf ? -1 : (lua_Integer)node.left);
        lua_seti(L, table + 3, (lua_Integer)i + 1);
        lua_pushinteger(L, leaf ? -1 : (lua_Integer)node.right);
        lua_seti(L, table + 4, (lua_Integer)i + 1);
        lua_pushinteger(L, node.rows);
        lua_seti(L, table + 5, (lua_Integer)i + 1);
        lua_pushinteger(L, node.depth);
        lua_seti(L, table + 6, (lua_Integer)i + 1);
    }
    for (int k = FIELDS; k > 0; k--)
        lua_setfield(L, table, names[k - 1]);
}

static int l_tree(lua_State *L)
{
    const struct shared *s = check_forest(L);
    lua_Integer t = luaL_checkinteger(L, 2);
    struct iforest_facts facts;
    struct iforest_tree tree;
    struct fail fail = {0};
    uint32_t *rows;

    luaL_argcheck(L, t >= 1 && iforest_tree(s->forest, (size_t)t - 1, &tree) == 0, 2,
                  "tree: there is no such tree");
    iforest_facts(s->forest, &facts);
    rows = lua_newuserdatauv(L, facts.max_samples * sizeof *rows, 0);
    if (iforest_rows(s->forest, (size_t)t - 1, rows, &fail) != 0)
        return bridge_fail(L, &fail);
    lua_createtable(L, 0, 12);
    set_integer(L, "bagging_seed", tree.bagging_seed);
    set_integer(L, "tree_random_state", tree.tree_state);
    set_integer(L, "rand_r_seed", tree.splitter_seed);
    set_integer(L, "n_nodes", tree.n_nodes);
    set_nodes(L, s->forest, (size_t)t - 1, tree.n_nodes);
    lua_createtable(L, (int)facts.max_samples, 0);
    for (size_t i = 0; i < facts.max_samples; i++) {
        lua_pushinteger(L, rows[i]);
        lua_seti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "sample_indices");
    return 1;
}

static int l_forest_index(lua_State *L)
{
    struct iforest_facts facts;
    const char *name = luaL_checkstring(L, 2);

    iforest_facts(check_forest(L)->forest, &facts);
    lua_getfield(L, LUA_REGISTRYINDEX, FOREST ".methods");
    if (lua_getfield(L, -1, name) != LUA_TNIL)
        return 1;
    if (strcmp(name, "offset") == 0)
        lua_pushnumber(L, facts.offset);
    else if (strcmp(name, "n_estimators") == 0)
        lua_pushinteger(L, (lua_Integer)facts.n_estimators);
    else if (strcmp(name, "max_samples") == 0)
        lua_pushinteger(L, (lua_Integer)facts.max_samples);
    else if (strcmp(name, "contamination") == 0 && facts.contamination > 0)
        lua_pushnumber(L, facts.contamination);
    else if (strcmp(name, "contamination") == 0)
        lua_pushliteral(L, "auto");
    else if (strcmp(name, "random_state") == 0)
        lua_pushinteger(L, facts.random_state);
    else if (strcmp(name, "n_rows") == 0)
        lua_pushinteger(L, (lua_Integer)facts.n_rows);
    else if (strcmp(name, "n_features") == 0)
        lua_pushinteger(L, (lua_Integer)facts.n_columns);
    else if (strcmp(name, "n_nodes") == 0)
        lua_pushinteger(L, (lua_Integer)facts.n_nodes);
    return 1;
}

static int l_forest_tostring(lua_State *L)
{
    struct iforest_facts k;

    iforest_facts(check_forest(L)->forest, &k);
    if (k.n_nodes == 0) {
        lua_pushfstring(L, "iforest(nothing to learn from in %I rows of %I columns: scores -0.5)",
                        (LUAI_UACINT)k.n_rows, (LUAI_UACINT)k.n_columns);
        return 1;
    }
    lua_pushfstring(L, "iforest(%I trees of %I rows out of %I, %I of %I columns, %I nodes, seed ",
                    (LUAI_UACINT)k.n_estimators, (LUAI_UACINT)k.max_samples, (LUAI_UACINT)k.n_rows,
                    (LUAI_UACINT)k.n_used, (LUAI_UACINT)k.n_columns, (LUAI_UACINT)k.n_nodes);
    lua_pushfstring(L, "%I, offset %f", (LUAI_UACINT)k.random_state, k.offset);
    if (k.contamination > 0)
        lua_pushfstring(L, " for %f of the rows, scores with %s)", k.contamination,
                        iforest_path_name(k.path));
    else
        lua_pushfstring(L, " (auto), scores with %s)", iforest_path_name(k.path));
    lua_concat(L, 3);
    return 1;
}

static int l_forest_gc(lua_State *L)
{
    struct shared **slot = luaL_checkudata(L, 1, FOREST);

    shared_unref(*slot);
    *slot = NULL;
    return 0;
}

static const luaL_Reg methods[] = {
    {"score_samples", l_score_samples},
    {"decision_function", l_decision_function},
    {"predict", l_predict},
    {"explain", l_explain},
    {"tree", l_tree},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__index", l_forest_index},
    {"__tostring", l_forest_tostring},
    {"__gc", l_forest_gc},
    {"__close", l_forest_gc},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"fit", l_fit},
    {"fit_score", l_fit_score},
    {NULL, NULL},
};

int luaopen_iforest(lua_State *L)
{
    luaL_checkversion(L);
    column_register(L);
    if (luaL_newmetatable(L, FOREST)) {
        luaL_setfuncs(L, metamethods, 0);
        lua_pushliteral(L, FOREST);
        lua_setfield(L, -2, "__metatable");
        luaL_newlib(L, methods);
        lua_setfield(L, LUA_REGISTRYINDEX, FOREST ".methods");
    }
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
