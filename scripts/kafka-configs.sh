#!/usr/bin/env bash
# Kafka's tool of this name, without a JVM.
exec "$(dirname "$0")/dohle" configs "$@"
