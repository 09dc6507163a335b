import { expect, test } from 'vitest';
import type { Schema } from '../../src/api/client';
import { solve } from '../../src/map/force.worker';
import { Memory } from '../../src/map/memory';
import { drawing, onlyUndeclared, onlyWrong, paths, readable } from '../../src/map/model';

type Node = Schema['KeyedNode'];
type Edge = Schema['KeyedEdge'];

const node = (id: string): Node => {
  const [hostname = '', service] = id.split('/');
  if (service === undefined) return { key: `k-${id}`, id, kind: 'address' } as Node;
  return {
    key: `k-${id}`,
    id,
    kind: 'process',
    host: `h-${hostname}`,
    hostname,
    service,
    tags: {},
  } as Node;
};

const edge = (client: string, server: string, of: Partial<Edge> = {}): Edge =>
  ({
    key: `${client}>${server}`,
    client,
    server,
    server_endpoint: '10.0.0.1:80',
    via: [],
    evidence: [],
    confidence: 1,
    connections: 100,
    client_counters: null,
    server_counters: null,
    ...of,
  }) as Edge;

const topology = (nodes: string[], edges: Edge[], unjoined: Edge[] = []) =>
  ({ nodes: nodes.map(node), edges, unjoined }) as unknown as Schema['Topology'];

const failing = { client_counters: { failed: 50, refused: 50 } } as Partial<Edge>;
const via = (kind: Schema['ViaKind']) =>
  ({ seen_by: 'client', kind, address: 'x' }) as Schema['Via'];

test('services of several hosts are one thing, addresses stand for themselves', () => {
  const answer = topology(
    ['a/web', 'b/web', 'c/db', '10.0.0.9'],
    [
      edge('a/web', 'c/db', { via: [via('nat')] }),
      edge('b/web', 'c/db', { via: [via('vip')], ...failing }),
    ],
    [edge('a/web', '10.0.0.9', { reason: 'no_agent', confidence: 0.3 })],
  );
  const { things, lines } = drawing(answer, 'service', new Map());
  expect(things.map((one) => [one.label, one.kind, one.size, one.hosts, one.level])).toEqual([
    ['web', 'service', 2, 2, 'ok'],
    ['db', 'service', 1, 1, 'bad'],
    ['10.0.0.9', 'address', 1, 0, 'unknown'],
  ]);
  const [first, second] = lines;
  expect(first).toMatchObject({
    size: 2,
    connections: 200,
    level: 'bad',
    joined: true,
    via: ['vip', 'nat'],
  });
  expect(first?.worst?.key).toBe('b/web>c/db');
  expect(second).toMatchObject({ level: 'unknown', joined: false, confidence: 0.3 });
});

test('each process stands alone when nothing is grouped, and by host all of a host', () => {
  const answer = topology(['a/web', 'a/db'], [edge('a/web', 'a/db')]);
  expect(drawing(answer, 'none', new Map()).things.map((one) => one.label)).toEqual([
    'a/web',
    'a/db',
  ]);
  const byHost = drawing(answer, 'host', new Map());
  expect(byHost.things.map((one) => [one.label, one.size])).toEqual([['a', 2]]);
  expect(byHost.lines.map((one) => [one.from, one.to])).toEqual([['host:a', 'host:a']]);
});

test('what is left out is counted', () => {
  const answer = { ...topology(['a/web'], []), left_out: { nodes: 7, edges: 9, connections: 1 } };
  expect(drawing(answer, 'service', new Map()).leftOut).toBe(7);
});

test('groups of the collector are drawn as they come', () => {
  const marks = { alerts: null, undeclared: null };
  const group = (key: string, label: string | null) => ({
    key,
    label,
    nodes: 3,
    some: [],
    ...marks,
  });
  const sums = { edges: 4, unjoined: 0, bytes_sent: null, bytes_received: null, retransmits: null };
  const grouped = {
    groups: [group('g1', 'web'), group('g2', null)],
    edges: [
      {
        client: 'g1',
        server: 'g2',
        connections: 1000,
        wrong: 5,
        confidence: 0.9,
        ...sums,
        ...marks,
      },
    ],
    left_out: { nodes: 2, edges: 0, connections: 0 },
  };
  const answer = { ...topology([], []), grouped };
  const { things, lines, leftOut } = drawing(answer, 'service', new Map());
  expect(things.map((one) => [one.label, one.size, one.level])).toEqual([
    ['web', 3, 'ok'],
    ['', 3, 'bad'],
  ]);
  expect(lines[0]).toMatchObject({ level: 'bad', size: 4, connections: 1000, confidence: 0.9 });
  expect(leftOut).toBe(2);
});

test('only what is wrong leaves lines that are, with their ends', () => {
  const answer = topology(['a/x', 'b/y', 'c/z'], [edge('a/x', 'b/y', failing), edge('b/y', 'c/z')]);
  const wrong = onlyWrong(drawing(answer, 'service', new Map()));
  expect(wrong.things.map((one) => one.label)).toEqual(['x', 'y']);
  expect(wrong.lines.length).toBe(1);
});

test('the path of a thing is what leads to it and what it leads to', () => {
  const ends = [
    ['a/x', 'b/y'],
    ['b/y', 'c/z'],
    ['d/w', 'c/z'],
    ['c/z', 'b/y'],
  ] as const;
  const answer = topology(
    ['a/x', 'b/y', 'c/z', 'd/w'],
    ends.map(([one, other]) => edge(one, other)),
  );
  const of = drawing(answer, 'service', new Map());
  expect([...paths(of, 'service:x').things].sort()).toEqual([
    'service:x',
    'service:y',
    'service:z',
  ]);
  expect([...paths(of, 'service:w').things].sort()).toEqual([
    'service:w',
    'service:y',
    'service:z',
  ]);
});

test('forces leave what is known where it is', () => {
  const known = [['a', { x: 12, y: 34 }]] as const;
  const arrows = [
    { from: 'a', to: 'b' },
    { from: 'b', to: 'gone' },
  ];
  const { round, places } = solve({ round: 3, keys: ['a', 'b', 'c'], arrows, known });
  expect(round).toBe(3);
  expect(places[0]).toEqual(['a', { x: 12, y: 34 }]);
  const spots = places.map(([, { x, y }]) => [x, y]);
  for (const [x = 0, y = 0] of spots) expect(Number.isFinite(x + y)).toBe(true);
  for (const [n, [x = 0, y = 0]] of spots.entries()) {
    const others = spots.filter((_, other) => other !== n);
    for (const [ox = 0, oy = 0] of others) expect(Math.hypot(x - ox, y - oy)).toBeGreaterThan(150);
  }
});

test('what nobody has declared is counted on its line, and can stand alone', () => {
  const answer = topology(
    ['a/web', 'b/web', 'c/db'],
    [edge('a/web', 'c/db'), edge('b/web', 'c/db'), edge('a/web', 'b/web')],
  );
  const declared = new Map([
    ['a/web>c/db', 'undeclared'],
    ['b/web>c/db', 'undecided'],
  ] as const);
  const all = drawing(answer, 'none', new Map(), declared);
  expect(all.lines.map((line) => line.undeclared)).toEqual([1, 0, 0]);
  const shown = onlyUndeclared(all);
  expect(shown.things.map((one) => one.label)).toEqual(['a/web', 'c/db']);
  // Without a matrix nothing is undeclared.
  expect(onlyUndeclared(drawing(answer, 'none', new Map())).lines).toEqual([]);
});

test('of too many lines those are drawn that matter, and the others are counted', () => {
  const answer = topology(
    ['a/web', 'b/app', 'c/db'],
    [
      edge('a/web', 'b/app', { connections: 5 }),
      edge('b/app', 'c/db', { connections: 500 }),
      edge('a/web', 'c/db', failing),
    ],
  );
  const all = drawing(answer, 'none', new Map());
  expect(readable(all)).toBe(all);
  const few = readable(all, 2);
  expect(few.lines.map((line) => line.key)).toEqual(['k-a/web k-c/db', 'k-b/app k-c/db']);
  expect([few.linesLeftOut, few.things.length]).toEqual([1, 3]);
});

test('what is remembered of maps is bounded, and what is used stays', () => {
  const memory = new Memory<number>();
  memory.set('mine', 1);
  for (let n = 0; n < 100; n += 1) {
    memory.set(`other ${n}`, n);
    expect(memory.get('mine')).toBe(1);
  }
  expect(memory.get('other 0')).toBeUndefined();
  expect(memory.get('other 99')).toBe(99);
});

test('groups show what fires about them and what nobody declared, and can stand alone', () => {
  const group = (key: string, alerts: object | null = null) => ({
    key,
    label: key,
    nodes: 3,
    some: [],
    alerts,
    undeclared: null,
  });
  const edges = (client: string, server: string, of: object) => ({
    client,
    server,
    edges: 2,
    unjoined: 0,
    connections: 100,
    wrong: 0,
    confidence: 1,
    ...of,
  });
  const fires = { critical: 1, warning: 1 };
  const answer = {
    nodes: [],
    edges: [],
    unjoined: [],
    grouped: {
      groups: [group('a'), group('b', { critical: 0, warning: 2 }), group('c'), group('d')],
      edges: [
        edges('a', 'c', { alerts: fires, undeclared: 2 }),
        // Those within a group are among what the group is told of.
        edges('b', 'b', { alerts: { critical: 0, warning: 1 } }),
        edges('a', 'd', { alerts: null, undeclared: null }),
      ],
      left_out: { nodes: 0, edges: 0, connections: 0 },
    },
  } as unknown as Schema['Topology'];
  const all = drawing(answer, 'service', new Map());
  expect(all.things.map((one) => [one.label, one.level, one.alerts])).toEqual([
    ['a', 'ok', 0],
    ['b', 'warn', 2],
    ['c', 'bad', 2],
    ['d', 'ok', 0],
  ]);
  expect(all.lines.map((line) => [line.level, line.alerts, line.undeclared])).toEqual([
    ['bad', 2, 2],
    ['warn', 1, 0],
    ['ok', 0, 0],
  ]);
  expect(onlyWrong(all).things.map((one) => one.label)).toEqual(['a', 'b', 'c']);
  expect(onlyUndeclared(all).things.map((one) => one.label)).toEqual(['a', 'c']);
});
