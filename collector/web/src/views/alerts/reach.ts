// Which alerts a silence means that is made at one of them. Pure.
import type { Schema } from '../../api/client';

type Alert = Schema['AlertShown'];

export const REACHES = ['this', 'rule', 'place'] as const;
export type Reach = (typeof REACHES)[number];

/** The conditions that mean an alert, or more than it. */
export function matchers(alert: Alert, reach: Reach): Schema['Matcher'][] {
  const rule = { label: 'rule', value: alert.rule };
  const place = placeOf(alert.subject);
  if (reach === 'rule' || place.length === 0) return [rule];
  return reach === 'place' ? place : [rule, ...place];
}

function placeOf(subject: Schema['Subject']): Schema['Matcher'][] {
  switch (subject.kind) {
    case 'edge':
      return [
        { label: 'client', value: subject.client.name },
        { label: 'server', value: subject.server.name },
      ];
    case 'node':
      return [{ label: 'server', value: subject.node.name }];
    case 'host':
    case 'series':
      return [{ label: 'host', value: subject.host }];
    case 'gateway':
      return [{ label: 'gateway', value: subject.address }];
    case 'flow':
      return [{ label: 'flow', value: subject.id }];
    default:
      return [];
  }
}
