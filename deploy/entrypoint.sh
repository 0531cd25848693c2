#!/bin/sh
# One command, for the image and for systemd. What runs for long replaces this shell, so that it is the process
# that a stop reaches; everything else is the command line.
root=$(dirname "$(dirname "$(readlink -f "$0")")")
case "$1" in
  node | submitter)
    if [ "$2" != doctor ]; then
      app=$1
      shift
      exec node --enable-source-maps "$root/packages/$app/dist/main.js" "$@"
    fi
    ;;
  local-chain)
    exec node "$root/deploy/local-chain.mjs"
    ;;
esac
exec node "$root/packages/cli/bin/quorate.mjs" "$@"
