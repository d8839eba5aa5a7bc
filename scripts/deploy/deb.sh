#!/bin/sh
# deb: makes a Debian package of an installed tree, with dpkg-deb alone (`make deb` calls it).
#
#   scripts/deploy/deb.sh TREE VERSION DIRECTORY
#
# TREE is what `make install DESTDIR=TREE PREFIX=/usr` left; it is completed in place. The package
# goes to DIRECTORY/anomalyd_VERSION_ARCH.deb. What it depends on is read from the program.
set -eu
tree=${1:?which tree} version=${2:?which version} to=${3:?where to}
here=$(cd "$(dirname "$0")" && pwd)
arch=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

# ---- the tree ----

strip --strip-unneeded -R .comment -R .note "$tree/usr/bin/anomalyd"
strip --strip-unneeded -R .comment -R .note "$tree"/usr/lib/anomalyd/*.so
gzip -9nf "$tree/usr/share/man/man1/anomalyd.1"
chmod 755 "$tree/etc/anomalyd"

doc=$tree/usr/share/doc/anomalyd
install -d "$doc" "$tree/DEBIAN"
install -m 644 "$here/copyright" "$doc/copyright"
printf 'anomalyd (%s) unstable; urgency=medium\n\n  * This version.\n\n -- anomalyd authors <authors@anomalyd.invalid>  %s\n' \
    "$version" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.gz"
install -d "$tree/usr/share/lintian/overrides"
install -m 644 "$here/lintian-overrides" "$tree/usr/share/lintian/overrides/anomalyd"

# ---- the control files ----

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debian"
printf 'Source: anomalyd\n\nPackage: anomalyd\nArchitecture: any\n' >"$work/debian/control"
root=$(cd "$tree" && pwd)
depends=$(cd "$work" && dpkg-shlibdeps -O -e"$root/usr/bin/anomalyd" \
    $(printf ' -e%s' "$root"/usr/lib/anomalyd/*.so) 2>"$work/log") || { cat "$work/log" >&2; exit 1; }
depends=${depends#shlibs:Depends=}

cat >"$tree/DEBIAN/control" <<END
Package: anomalyd
Version: $version
Architecture: $arch
Maintainer: anomalyd authors <authors@anomalyd.invalid>
Installed-Size: $(du -k -s --exclude=DEBIAN "$tree" | cut -f1)
Depends: adduser, ca-certificates, lua-cjson, $depends
Suggests: curl
Section: science
Priority: optional
Description: scores CSV batches as they land in a bucket
 A service that watches a bucket, of S3 or a directory, for CSV files with
 time series, scores each row by its z-score against a running baseline and
 by an isolation forest, and writes the file back with flags and scores.
 .
 What it learns and when it flags is decided by Lua scripts that can be
 edited while it runs.
END
(cd "$tree" && find etc -type f | sed 's,^,/,' | sort) >"$tree/DEBIAN/conffiles"
(cd "$tree" && find usr -type f -exec md5sum {} + | LC_ALL=C sort -k2) >"$tree/DEBIAN/md5sums"
for script in postinst prerm postrm; do
    install -m 755 "$here/deb.$script" "$tree/DEBIAN/$script"
done
chmod 644 "$tree/DEBIAN/control" "$tree/DEBIAN/conffiles" "$tree/DEBIAN/md5sums"

find "$tree" -type d -exec chmod 755 {} +
find "$tree" -depth -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
package=$to/anomalyd_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$tree" "$package" >/dev/null
echo "$package"
