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

/* Bytes of a window, and room for the places of its separators: a list is written in blocks of 64
 * whether they are full or not. */
enum { CSV_WINDOW = 4096, CSV_PLACES = CSV_WINDOW + 64 };

/* What a text holds. */
struct csv_survey {
    size_t lines; /* line ends; CR LF is one */
    bool carriage_return;
    bool quote;
    bool nul;
    bool after_return; /* the last byte was CR: an LF that follows is no line end of its own */
};

/* Look over text[0..n-1], adding to *survey: a text may be surveyed piece by piece, but no piece
 * but the last may have other than a multiple of 64 bytes. */
void csv_scan_survey(const char *text, size_t n, struct csv_survey *survey);

/* List the separators of text[0..n-1], n <= CSV_WINDOW: where a byte is `delimiter`, LF, or (where
 * `carriage_return`) CR, in ascending order. Returns how many there are. Reads no byte beyond n. */
size_t csv_scan_places(const char *text, size_t n, char delimiter, bool carriage_return,
                       uint16_t places[CSV_PLACES]);

/* For tests: use this path from now on ("portable", "avx2", "avx512"; NULL: the best one). Gives
 * the name of the path in use, or NULL when this machine has no such path (nothing changes). Not
 * while another thread is scanning. */
const char *csv_scan_path(const char *name);

#endif
