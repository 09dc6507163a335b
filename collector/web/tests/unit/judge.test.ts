import { expect, test } from 'vitest';
import type { Schema } from '../../src/api/client';
import { findings, isJoined, level, since, told } from '../../src/judge';

const counters = (of: Partial<Schema['EdgeCounters']>): Schema['EdgeCounters'] => ({
  opened: 0,
  adopted: 0,
  closed: 0,
  open: 0,
  failed: 0,
  refused: 0,
  reset_local: 0,
  reset_remote: 0,
  bytes_sent: 0,
  bytes_received: 0,
  segments_sent: 0,
  segments_received: 0,
  retransmits: 0,
  out_of_order: 0,
  zero_windows: 0,
  connect_latency_us: null,
  rtt_us: null,
  apportioned: false,
  ...of,
});

const edge = (of: Partial<Schema['KeyedEdge']>): Schema['KeyedEdge'] => ({
  key: 'e-1',
  client: 'a/x',
  server: 'b/y',
  server_endpoint: '10.0.0.1:80',
  via: [],
  evidence: [{ kind: 'token', connections: 1 }],
  confidence: 1,
  connections: 30_000,
  open_before: 0,
  sampled: false,
  client_counters: counters({ opened: 30_000 }),
  server_counters: counters({ opened: 30_000 }),
  first_seen_ms: 0,
  last_seen_ms: 0,
  ...of,
});

test('thirty of thirty thousand that a server reset are a failure, by whichever side told', () => {
  const byClient = edge({ client_counters: counters({ opened: 30_000, reset_remote: 30 }) });
  const byServer = edge({ client_counters: null, server_counters: counters({ reset_local: 30 }) });
  for (const one of [byClient, byServer]) {
    expect(findings(one)).toEqual([{ kind: 'reset_server', level: 'bad', n: 30, of: 30_000 }]);
  }
});

test('what nobody can measure is neither zero nor a finding', () => {
  const blind = { reset_local: null, reset_remote: null, retransmits: null, segments_sent: null };
  const one = edge({ client_counters: counters(blind), server_counters: null });
  const all = told(one.client_counters, one.server_counters, one.connections);
  expect([all.resetServer, all.resetClient, all.retransmits]).toEqual([null, null, null]);
  expect(findings(one)).toEqual([]);
});

test('refused attempts are not told twice', () => {
  const one = edge({ connections: 0, client_counters: counters({ failed: 4, refused: 4 }) });
  expect(findings(one).map(({ kind, n, of }) => [kind, n, of])).toEqual([['refused', 4, 4]]);
});

test('slower than before is said of many connections alone', () => {
  const rtt_us = { p50: 1, p95: 9000, p99: 9000 };
  const before = told(counters({ rtt_us: { p50: 1, p95: 900, p99: 900 } }), null, 100);
  const many = edge({ client_counters: counters({ rtt_us }) });
  expect(findings(many, before).map((one) => one.kind)).toEqual(['slow']);
  expect(findings({ ...many, connections: 3 }, before)).toEqual([]);
  expect(findings(many)).toEqual([]);
});

test('an edge with one end is unknown, not fine', () => {
  const one = edge({ reason: 'no_agent', server_counters: null });
  expect(isJoined(one)).toBe(false);
  expect(level(one, findings(one))).toBe('unknown');
  expect(level(edge({}), [])).toBe('ok');
});

test('since when is said only where there was a time without', () => {
  const step = (from_ms: number, resets: number | null): Schema['Step'] => ({
    from_ms,
    to_ms: from_ms + 1,
    connections: resets === null ? null : 10,
    client: resets === null ? null : counters({ reset_remote: resets }),
    server: null,
    client_times: null,
    server_times: null,
  });
  const of = (...resets: (number | null)[]) =>
    since(
      'reset_server',
      resets.map((n, at) => step(at, n)),
    );
  expect(of(null, 0, 0, 3, 1)?.from_ms).toBe(3);
  expect(of(null, 3, 0, 1)).toBeNull();
  expect(of(0, 0)).toBeNull();
  expect(of()).toBeNull();
});
