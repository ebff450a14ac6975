#!/usr/bin/env bash
# Stops nodes on this machine as Kafka's script of this name does:
#   kafka-server-stop.sh [--process-role=broker|controller] [--node-id=N]
# Without options all nodes of this user that `dohle serve` runs.
set -euo pipefail
role= node=
for argument in "$@"; do
  case $argument in
    --process-role=*) role=${argument#*=} ;;
    --node-id=*) node=${argument#*=} ;;
    *) echo "USAGE: $0 [--process-role=broker|controller] [--node-id=N]" >&2; exit 1 ;;
  esac
done

# The value of a setting of a running node: of its last --override, else of its file.
setting() {
  local name=$1 pid=$2 value= file= previous= argument
  while IFS= read -r -d '' argument; do
    case $previous in
      --override) [ "${argument%%=*}" = "$name" ] && value=${argument#*=} ;;
      serve) file=$argument ;;
    esac
    previous=$argument
  done <"/proc/$pid/cmdline"
  if [ -z "$value" ] && [ -n "$file" ]; then
    case $file in /*) ;; *) file=$(readlink "/proc/$pid/cwd")/$file ;; esac
    value=$(sed -n "s/^[[:space:]]*${name//./\\.}[[:space:]]*=[[:space:]]*//p" "$file" 2>/dev/null | tail -1)
  fi
  echo "$value"
}

pids=()
for pid in $(pgrep -u "$(id -u)" -x dohle || true); do
  tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | sed -n 2,4p | grep -qx serve || continue
  if [ -n "$role" ]; then case ,$(setting process.roles "$pid"), in *,"$role",*) ;; *) continue ;; esac; fi
  if [ -n "$node" ]; then [ "$(setting node.id "$pid")" = "$node" ] || continue; fi
  pids+=("$pid")
done
if [ ${#pids[@]} -eq 0 ]; then
  echo "No kafka server to stop"
  exit 1
fi
kill -s "${SIGNAL:-TERM}" "${pids[@]}"
