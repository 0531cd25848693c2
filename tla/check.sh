#!/bin/sh
# Checks the model with TLC, the reference model checker: every instance here, or those named.
#
#   TLA2TOOLS_JAR=/path/to/tla2tools.jar tla/check.sh [--large] [FILE.cfg…]
#
# --large takes the instances of large/, which take TLC hours. The broken twins, from tla/: ./check.sh broken/*.cfg.
# Exit code 0: every instance holds, and every twin has a counterexample. 1: not so. 2: nothing was checked.
# Which property a twin breaks is held against what it should be by npm run check:tla, not here.
set -eu
cd "$(dirname "$0")"

if [ -z "${TLA2TOOLS_JAR:-}" ]; then
  echo "Set TLA2TOOLS_JAR to a tla2tools.jar (the release page of github.com/tlaplus/tlaplus has it); Java 11 or newer is needed." >&2
  echo "Without Java: npm run check:tla checks the same small instances with another checker." >&2
  exit 2
fi
if ! command -v java >/dev/null; then
  echo "java is not in PATH; TLC needs Java 11 or newer." >&2
  exit 2
fi

if [ "${1:-}" = "--large" ]; then
  shift
  set -- large/*.cfg
elif [ $# -eq 0 ]; then
  set -- *.cfg
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
for cfg in "$@"; do
  name=$(basename "$cfg" .cfg)
  module=${name%%-*}
  echo "== $cfg" >&2
  code=0
  java -XX:+UseParallelGC -cp "$TLA2TOOLS_JAR" tlc2.TLC -workers auto -metadir "$scratch/$name" -config "$cfg" "$module.tla" || code=$?
  case "$cfg" in
    broken/* | */broken/*)
      # TLC's codes for a deadlock, a broken invariant or property of steps, a broken temporal property. Any other: it was not checked.
      case $code in
        11 | 12 | 13) ;;
        0) echo "$cfg: the defect was not noticed" >&2; failed=1 ;;
        *) echo "$cfg: not checked (TLC ended with $code)" >&2; failed=1 ;;
      esac ;;
    *) [ $code -eq 0 ] || failed=1 ;;
  esac
done
exit $failed
