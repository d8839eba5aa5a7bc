/* armor: bytes dressed as text, undressed strictly: base64 and PEM.
 *
 * Both are read from strangers (a signature, a certificate), so nothing is skipped or guessed:
 * what does not fit the form to the letter is an error that names the offset.
 */
#ifndef CORE_ARMOR_H
#define CORE_ARMOR_H

#include "core/buf.h"
#include "core/fail.h"

#include <stddef.h>

/* Append the bytes of `len` characters of base64 (RFC 4648 section 4: the standard alphabet, padded,
 * no white space, unused bits zero) to out. 0, or -1 with code "BadBase64", "TooLarge" or
 * "NoMemory"; out is then as long as it was. */
int armor_base64(const char *text, size_t len, struct buf *out, struct fail *fail);

/* Append the bytes of the one PEM block `label` ("CERTIFICATE") that the text consists of
 * (RFC 7468: no headers; lines of any length). White space before and behind the block is allowed,
 * anything else is not: no second block, no text around it. Lines end in LF or CR LF. 0, or -1 with code "BadPem", "TooLarge" or "NoMemory". */
int armor_pem(const char *text, size_t len, const char *label, struct buf *out, struct fail *fail);

#endif
