#!/usr/bin/env bash
# Starts a node as Kafka's script of this name does:
#   kafka-server-start.sh [-daemon] [server.properties] [--override property=value]*
# Without a file: one node on 127.0.0.1:9092 with its data in ./dohle-data.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ "${1:-}" = -daemon ]; then
  shift
  log_dir=${LOG_DIR:-$here/../logs}
  mkdir -p "$log_dir"
  nohup "$here/dohle" serve "$@" >"$log_dir/kafkaServer.out" 2>&1 </dev/null &
else
  exec "$here/dohle" serve "$@"
fi
