// Alerts that fire, by what they are about. Pure.
import type { Schema } from './api/client';

export type AlertMark = Pick<Schema['AlertShown'], 'id' | 'severity' | 'summary'>;

/** Alerts by what they are about. */
export type Firing = ReadonlyMap<string, readonly AlertMark[]>;

export const NOTHING: Firing = new Map();

const edgeOf = (client: string, server: string, endpoint: string) =>
  `edge\t${client}\t${server}\t${endpoint}`;

/** What an alert is about, as a key; empty for what is not on the map. */
function placeOf(subject: Schema['Subject']): string {
  switch (subject.kind) {
    case 'edge':
      return edgeOf(subject.client.name, subject.server.name, subject.endpoint);
    case 'node':
      return `node\t${subject.node.name}`;
    case 'host':
    case 'series':
      return `host\t${subject.host}`;
    default:
      return '';
  }
}

/** Alerts that fire, and nobody has silenced, by their places. */
export function firingOf(alerts: readonly Schema['AlertShown'][]): Firing {
  const found = new Map<string, AlertMark[]>();
  for (const alert of alerts) {
    const place = placeOf(alert.subject);
    if (place === '' || alert.phase !== 'firing' || alert.muted) continue;
    found.set(place, [...(found.get(place) ?? []), alert]);
  }
  return found;
}

export function ofEdge(
  firing: Firing,
  edge: Pick<Schema['KeyedEdge'], 'client' | 'server' | 'server_endpoint'>,
): readonly AlertMark[] {
  return firing.get(edgeOf(edge.client, edge.server, edge.server_endpoint)) ?? [];
}

/** About a service, and about its host. */
export function ofNode(firing: Firing, node: Schema['KeyedNode']): readonly AlertMark[] {
  const own = firing.get(`node\t${node.id}`) ?? [];
  const host = node.host ? (firing.get(`host\t${node.host}`) ?? []) : [];
  return [...own, ...host];
}
