#!/usr/bin/env bash
# Start Kafka; the first time, format its storage with the admin user, who makes all the others.
set -euo pipefail
home=${KAFKA_HOME:-/opt/kafka}
config=${KAFKA_CONFIG:-/etc/taprail/kafka.properties}
data=$(sed -n 's/^log\.dirs=//p' "$config")

if [ ! -e "$data/meta.properties" ]; then
  # Through standard input: arguments show in the list of processes.
  printf '%s\n' --add-scram "SCRAM-SHA-256=[name=admin,password=$KAFKA_ADMIN_PASSWORD]" |
    "$home/bin/kafka-storage.sh" format --standalone --config "$config" \
      --cluster-id "$("$home/bin/kafka-storage.sh" random-uuid)" @/dev/stdin
fi
exec "$home/bin/kafka-server-start.sh" "$config"
