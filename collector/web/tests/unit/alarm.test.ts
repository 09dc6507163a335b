import { expect, test } from 'vitest';
import { firingOf, ofEdge, ofNode } from '../../src/alarm';
import type { Schema } from '../../src/api/client';
import { drawing } from '../../src/map/model';
import { matchers } from '../../src/views/alerts/reach';

type Alert = Schema['AlertShown'];
type Node = Schema['KeyedNode'];

const end = (name: string) => ({ name, host: 'h1', service: name.split('/')[1] ?? '' });
const alert = (id: string, subject: object, of: Partial<Alert> = {}): Alert =>
  ({ id, rule: 'r', severity: 'critical', phase: 'firing', muted: null, subject, ...of }) as Alert;

const subject = {
  kind: 'edge',
  client: end('a/web'),
  server: end('b/db'),
  endpoint: '10.0.0.1:80',
};
const edge = { client: 'a/web', server: 'b/db', server_endpoint: '10.0.0.1:80' };

test('what fires is found where it is, and nowhere else', () => {
  const firing = firingOf([
    alert('1', subject),
    alert('2', { kind: 'host', host: 'h2', name: 'b' }),
    alert('3', { kind: 'collector' }),
  ]);
  expect(ofEdge(firing, edge).map((one) => one.id)).toEqual(['1']);
  expect(ofEdge(firing, { ...edge, server_endpoint: '10.0.0.1:81' })).toEqual([]);
  expect(ofNode(firing, { id: 'b/db', host: 'h2' } as Node).map((one) => one.id)).toEqual(['2']);
  expect(ofNode(firing, { id: 'a/web', host: 'h1' } as Node)).toEqual([]);
});

test('what is pending, over or silenced is not marked', () => {
  const muted = { by: 'silence', id: 1, why: '', until_ms: 9 };
  const firing = firingOf([
    alert('1', subject, { phase: 'pending' }),
    alert('2', subject, { phase: 'resolved' }),
    alert('3', subject, { muted }),
  ]);
  expect(firing.size).toBe(0);
});

test('an alert colours its line and whom it calls', () => {
  const nodes = ['a/web', 'b/db'].map(
    (id) => ({ key: id, id, kind: 'process', host: id[0], hostname: id[0], service: id }) as Node,
  );
  const edges = [{ ...edge, key: 'e', via: [], evidence: [], confidence: 1, connections: 9 }];
  const answer = { nodes, edges, unjoined: [] } as unknown as Schema['Topology'];
  const firing = firingOf([alert('1', subject, { severity: 'warning' })]);
  const { things, lines } = drawing(answer, 'none', new Map(), null, firing);
  expect(lines.map((line) => [line.level, line.alerts])).toEqual([['warn', 1]]);
  expect(things.map((one) => [one.label, one.level, one.alerts])).toEqual([
    ['a/web', 'ok', 0],
    ['b/db', 'warn', 1],
  ]);
});

test('a silence means what was chosen', () => {
  const one = alert('1', subject);
  const place = [
    { label: 'client', value: 'a/web' },
    { label: 'server', value: 'b/db' },
  ];
  expect(matchers(one, 'rule')).toEqual([{ label: 'rule', value: 'r' }]);
  expect(matchers(one, 'place')).toEqual(place);
  expect(matchers(one, 'this')).toEqual([{ label: 'rule', value: 'r' }, ...place]);
});
