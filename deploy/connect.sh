#!/usr/bin/env bash
# Start Debezium's image as it starts itself, with a REST API that asks for a password.
set -euo pipefail
umask 077
mkdir -p /tmp/taprail
printf 'taprail: %s\n' "$CONNECT_REST_PASSWORD" >/tmp/taprail/users
printf 'user = "taprail:%s"\n' "$CONNECT_REST_PASSWORD" >/tmp/taprail/curl # for the health check
cat >/tmp/taprail/jaas <<'JAAS'
KafkaConnect {
  org.apache.kafka.connect.rest.basic.auth.extension.PropertyFileLoginModule required file="/tmp/taprail/users";
};
JAAS
unset CONNECT_REST_PASSWORD # the image would write it into the worker's properties
export KAFKA_OPTS="-Djava.security.auth.login.config=/tmp/taprail/jaas"
exec /docker-entrypoint.sh start
