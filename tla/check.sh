#!/bin/sh
# Checks the model with TLC, the reference model checker: every instance here, or those named.
#
#   TLA2TOOLS_JAR=/path/to/tla2tools.jar tla/check.sh [--large] [FILE.cfg…]
#
# --large takes the instances of large/, which take TLC hours. The broken twins: tla/check.sh broken/*.cfg,
# each of which must end with an error.
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
  java -XX:+UseParallelGC -cp "$TLA2TOOLS_JAR" tlc2.TLC -workers auto -metadir "$scratch/$name" -config "$cfg" "$module.tla" || failed=1
done
exit $failed
