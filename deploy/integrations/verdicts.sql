-- Tables for what devices say, filled by verdicts.sh and read by grafana-dashboard.json. Twice is as good as once.

-- Every verdict, once, however often it was delivered.
CREATE TABLE IF NOT EXISTS event (
  id text PRIMARY KEY,
  site text NOT NULL,
  device text NOT NULL,
  seq bigint NOT NULL,
  time timestamptz NOT NULL, -- the exposure; by this machine's clock where the device's was not set
  heard timestamptz NOT NULL DEFAULT now(),
  camera text NOT NULL,
  verdict text NOT NULL,
  body jsonb NOT NULL -- everything else
);
CREATE INDEX IF NOT EXISTS event_time ON event (time);
CREATE INDEX IF NOT EXISTS event_heard ON event (heard);

-- Verdicts that were given and will never arrive.
CREATE TABLE IF NOT EXISTS gap (
  site text NOT NULL,
  device text NOT NULL,
  first bigint NOT NULL,
  last bigint NOT NULL,
  heard timestamptz NOT NULL DEFAULT now(),
  reason text NOT NULL,
  verdicts jsonb NOT NULL,
  PRIMARY KEY (site, device, first, last)
);

-- How devices fare: `status` and `health`. The newest is what was heard last: a last will is as old as its connection.
CREATE TABLE IF NOT EXISTS report (
  site text NOT NULL,
  device text NOT NULL,
  name text NOT NULL,
  time timestamptz NOT NULL,
  heard timestamptz NOT NULL DEFAULT now(),
  body jsonb NOT NULL,
  PRIMARY KEY (site, device, name, time)
);

-- Numbers of the last week that have neither arrived nor been named by a gap: ask the device to replay them.
CREATE OR REPLACE VIEW missing AS
WITH span AS (
  SELECT site, device, seq AS first, seq AS last FROM event WHERE heard > now() - interval '7 days'
  UNION ALL
  SELECT site, device, first, last FROM gap WHERE heard > now() - interval '7 days'
), walked AS (
  SELECT site, device, first, max(last) OVER (
    PARTITION BY site, device ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
  ) AS before
  FROM span
)
SELECT site, device, before + 1 AS first, first - 1 AS last FROM walked WHERE first > before + 1;

-- Takes one line of `mosquitto_sub -F %J`.
CREATE OR REPLACE FUNCTION take(message jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  level text[] := string_to_array(message ->> 'topic', '/'); -- inspect/v1/<site>/<device>/<name>
  said jsonb := message -> 'payload';
BEGIN
  CASE level[5]
    WHEN 'event' THEN
      INSERT INTO event (id, site, device, seq, time, camera, verdict, body)
      VALUES (
        said ->> 'id', level[3], level[4], (said ->> 'seq')::bigint,
        CASE WHEN (said ->> 'clock_synced')::boolean THEN (said ->> 'time')::timestamptz ELSE now() END,
        said ->> 'camera', said ->> 'verdict', said
      )
      ON CONFLICT (id) DO NOTHING;
    WHEN 'gap' THEN
      INSERT INTO gap (site, device, first, last, reason, verdicts)
      VALUES (
        level[3], level[4], (said ->> 'first')::bigint, (said ->> 'last')::bigint,
        said ->> 'reason', said -> 'verdicts'
      )
      ON CONFLICT DO NOTHING;
    WHEN 'status', 'health' THEN
      INSERT INTO report (site, device, name, time, body)
      VALUES (level[3], level[4], level[5], (said ->> 'time')::timestamptz, said)
      ON CONFLICT (site, device, name, time) DO UPDATE SET heard = now(), body = excluded.body;
    ELSE
      RAISE EXCEPTION 'no table for topic %', message ->> 'topic';
  END CASE;
END
$$;
