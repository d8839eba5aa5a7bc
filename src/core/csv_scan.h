/* csv_scan: where the separators are, 64 bytes at a time.
 *
 * The only part of the reader that looks at every byte. AVX-512 and AVX2 where the processor has
 * them, plain C elsewhere; the choice is made once and never changes a result.
 */
#ifndef CORE_CSV_SCAN_H
#define CORE_CSV_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CSV_BLOCK = 64, CSV_WINDOW = 64 }; /* bytes of a block, blocks of a window */

/* What a text holds. */
struct csv_survey {
    size_t lines; /* line ends; CR LF is one */
    bool carriage_return;
    bool quote;
    bool nul;
    bool after_return; /* the last byte was CR: an LF that follows is no line end of its own */
};

/* Look over text[0..n-1], adding to *survey: a text may be surveyed piece by piece, but no piece
 * but the last may have other than a multiple of CSV_BLOCK bytes. */
void csv_scan_survey(const char *text, size_t n, struct csv_survey *survey);

/* Mark the separators of n bytes (n <= CSV_BLOCK * CSV_WINDOW): bit i of masks[k] is set when
 * text[64 * k + i] is `delimiter`, LF, or (where `carriage_return`) CR. Bits from n on are 0. Sets
 * (n + 63) / 64 masks and reads no byte beyond n. */
void csv_scan_masks(const char *text, size_t n, char delimiter, bool carriage_return,
                    uint64_t *masks);

/* For tests: use this path from now on ("portable", "avx2", "avx512"; NULL: the best one). Gives
 * the name of the path in use, or NULL when this machine has no such path (nothing changes). Not
 * while another thread is scanning. */
const char *csv_scan_path(const char *name);

#endif
