#!/bin/sh
# Writes what devices say into PostgreSQL, as long as it runs:  verdicts.sh DATABASE [OPTIONS OF mosquitto_sub]
# The broker keeps what comes while it does not run: its session has a name and does not end.
database=$1
shift
export PGCLIENTENCODING=UTF8
# What mosquitto_sub has taken the broker forgets: it is not started where nobody would store that.
psql -q -X -o /dev/null -d "$database" -c "SELECT 'take(jsonb)'::regprocedure" || exit
# A stop is for mosquitto_sub, which heeds it all the same: what it has taken must still reach the database. psql would
# heed Ctrl-C too, so that it runs where none is heard.
trap '' INT TERM
# What a device says is SQL's text and never SQL: no quote is left in it, whatever bytes stand around one. In JSON
# \u0027 says the same.
mosquitto_sub "$@" -V 5 -q 1 -c -i verdicts-into-postgresql -x 1209600 -F '%J' \
  -t 'inspect/v1/+/+/event' -t 'inspect/v1/+/+/gap' -t 'inspect/v1/+/+/status' -t 'inspect/v1/+/+/health' |
  LC_ALL=C sed -u "s/'/\\\\u0027/g; s/^/SELECT take('/; s/\$/');/" |
  setsid psql -q -X -o /dev/null -d "$database"
