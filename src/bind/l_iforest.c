/* l_iforest: the Lua module `iforest`: isolation forests over columns, scikit-learn's to the bit.
 *
 *   iforest.fit(columns [, options])       -> forest
 *   iforest.fit_score(columns [, options]) -> {scores, decisions, labels, offset}   in one pass
 *       columns: a table of columns of one length, one for each channel
 *       options: n_estimators = 100, max_samples = "auto" (at most 256 rows, or how many rows, or,
 *       as a float in (0, 1], what share of them), contamination = 0.05 (in (0, 0.5], or "auto"),
 *       random_state = 42, threads = 1 (to start for the call in a stock interpreter; in the host
 *       its workers are used)
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
#include "bind/class.h"
#include "bind/iforest_options.h"
#include "bind/l_column.h"
#include "bind/modules.h"
#include "core/iforest.h"

#include <lauxlib.h>
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
    int threads;
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
    struct crew own;
    int failed;

    if (crew == NULL && f->threads > 1) {
        crew_threads(&own, f->threads);
        crew = &own;
    }
    if (f->kind == FIT) {
        failed = iforest_fit(&f->forest->forest, f->cells, f->n_columns, f->n_rows, &f->options,
                             crew, &f->fail);
    } else if (f->kind == FIT_SCORE) {
        result.scores = f->scores->cells;
        result.decisions = f->decisions->cells;
        result.labels = f->labels->marks;
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
        iforest_decide(f->offset, f->scores->cells, f->n_rows, NULL, f->labels->marks);
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
        f->columns[c] = column_wide(column_check(L, -1));
        if (f->columns[c] == NULL)
            luaL_error(L, "out of memory");
        f->cells[c] = f->columns[c]->cells;
        luaL_argcheck(L, f->columns[c]->n == rows, arg, "columns: they changed while being read");
        lua_pop(L, 1);
    }
}

/* `c`, which was just made for n cells. */
static struct column *made(lua_State *L, struct column *c, size_t n)
{
    if (c == NULL)
        luaL_error(L, "out of memory for a column of %I cells", (LUAI_UACINT)n);
    return c;
}

static void push_column(lua_State *L, struct column **owned)
{
    struct column **slot = column_box(L, (*owned)->n);

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
        push_column(L, f->kind == PREDICT ? &f->labels : &f->scores);
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

/* Begin to learn from the columns at 1, *rows long, with the options at 2. */
static struct forest_op *begin_fit(lua_State *L, enum kind kind, size_t *rows)
{
    struct iforest_options options;
    struct forest_op *f;
    int threads;
    size_t n = iforest_options_columns(L, 1, rows);

    iforest_options_read(L, 2, *rows, &options);
    threads = iforest_options_threads(L, 2);
    f = begin(L, kind, 1, &options, n, *rows);
    f->threads = threads;
    return f;
}

static int l_fit(lua_State *L)
{
    size_t rows = 0;
    struct forest_op *f = begin_fit(L, FIT, &rows);

    f->forest = calloc(1, sizeof *f->forest);
    if (f->forest == NULL)
        return luaL_error(L, "out of memory");
    atomic_init(&f->forest->refs, 1);
    return bridge_run(L, &f->op, forest_done);
}

static int l_fit_score(lua_State *L)
{
    size_t rows = 0;
    struct forest_op *f = begin_fit(L, FIT_SCORE, &rows);

    f->scores = made(L, column_new(rows), rows);
    f->decisions = made(L, column_new(rows), rows);
    f->labels = made(L, column_new_marks(rows), rows);
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
    n = iforest_options_columns(L, 2, &rows);
    if (n != facts.n_columns)
        return luaL_argerror(L, 2,
                             lua_pushfstring(L, "columns: %I, but the forest was fitted on %I",
                                             (LUAI_UACINT)n, (LUAI_UACINT)facts.n_columns));
    options.n_estimators = facts.n_estimators;
    f = begin(L, kind, 2, &options, n, rows);
    f->offset = facts.offset;
    f->forest = check_forest(L);
    atomic_fetch_add_explicit(&f->forest->refs, 1, memory_order_relaxed);
    f->scores = made(L, column_new(rows), rows);
    if (kind == PREDICT)
        f->labels = made(L, column_new_marks(rows), rows);
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
    size_t n = iforest_options_columns(L, 2, &rows);
    lua_Integer row = luaL_checkinteger(L, 3);
    struct fail fail = {0};
    double *cells;

    luaL_argcheck(L, row >= 1 && (lua_Unsigned)row <= rows, 3, "row: there is no such row");
    cells = lua_newuserdatauv(L, 2 * n * sizeof *cells, 0);
    for (size_t c = 0; c < n; c++) {
        lua_geti(L, 2, (lua_Integer)c + 1);
        cells[c] = column_cell(column_check(L, -1), (size_t)row - 1);
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

/* The whole numbers of a node, in the order of the names in set_nodes. */
static lua_Integer node_field(const struct iforest_node *node, int k)
{
    const int leaf = node->column < 0;

    switch (k) {
    case 0:
        return leaf ? -2 : node->column;
    case 1:
        return leaf ? -1 : (lua_Integer)node->left;
    case 2:
        return leaf ? -1 : (lua_Integer)node->right;
    case 3:
        return node->rows;
    default:
        return node->depth;
    }
}

/* Add the nodes of tree t to the table on top, as arrays in scikit-learn's terms. */
static void set_nodes(lua_State *L, const struct iforest *forest, size_t t, size_t n)
{
    static const char *const names[] = {"feature", "left", "right", "n_node_samples", "depth"};
    enum { FIELDS = sizeof names / sizeof names[0] };
    int table = lua_gettop(L);

    luaL_checkstack(L, FIELDS + 2, "a tree");
    for (int k = 0; k <= FIELDS; k++)
        lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        struct iforest_node node;

        iforest_node(forest, t, i, &node);
        lua_pushnumber(L, node.threshold);
        lua_seti(L, table + FIELDS + 1, (lua_Integer)i + 1);
        for (int k = 0; k < FIELDS; k++) {
            lua_pushinteger(L, node_field(&node, k));
            lua_seti(L, table + 1 + k, (lua_Integer)i + 1);
        }
    }
    lua_setfield(L, table, "threshold");
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

/* Push what forest.NAME gives. */
static void push_fact(lua_State *L, const struct iforest_facts *facts, const char *name)
{
    const struct {
        const char *name;
        size_t value;
    } whole[] = {{"n_estimators", facts->n_estimators}, {"max_samples", facts->max_samples},
                 {"random_state", facts->random_state}, {"n_rows", facts->n_rows},
                 {"n_features", facts->n_columns},      {"n_nodes", facts->n_nodes}};

    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        if (strcmp(name, whole[i].name) == 0) {
            lua_pushinteger(L, (lua_Integer)whole[i].value);
            return;
        }
    }
    if (strcmp(name, "offset") == 0)
        lua_pushnumber(L, facts->offset);
    else if (strcmp(name, "contamination") != 0)
        lua_pushnil(L);
    else if (facts->contamination > 0)
        lua_pushnumber(L, facts->contamination);
    else
        lua_pushliteral(L, "auto");
}

/* One of the methods in upvalue 1, or a fact of the forest. */
static int l_forest_index(lua_State *L)
{
    struct iforest_facts facts;
    const char *name = luaL_checkstring(L, 2);

    iforest_facts(check_forest(L)->forest, &facts);
    if (lua_getfield(L, lua_upvalueindex(1), name) == LUA_TNIL)
        push_fact(L, &facts, name);
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
    class_define(L, FOREST, metamethods, methods);
    luaL_newlib(L, functions);
    return 1;
}
