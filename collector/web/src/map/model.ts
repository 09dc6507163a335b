// What the map shows of a topology: things, and lines between them. Pure.
import { type AlertMark, type Firing, NOTHING, ofEdge, ofNode } from '../alarm';
import type { Schema } from '../api/client';
import {
  type Declared,
  type Finding,
  findings,
  isJoined,
  isUndeclared,
  type Level,
  level,
  rank,
  type Told,
  worse,
} from '../judge';

export type By = 'service' | 'host' | 'site' | 'namespace' | 'none';
export const BYS: readonly By[] = ['service', 'host', 'site', 'namespace', 'none'];

type Node = Schema['KeyedNode'];
type Edge = Schema['KeyedEdge'];
export type ThingKind = 'service' | 'group' | 'address' | 'network';

export interface Thing {
  /** Stays the same from answer to answer. */
  readonly key: string;
  readonly kind: ThingKind;
  readonly label: string;
  /** Nodes that it stands for; none are listed of a group that the collector made. */
  readonly nodes: readonly Node[];
  /** How many nodes it stands for. */
  readonly size: number;
  readonly hosts: number;
  readonly level: Level;
  readonly connections: number;
  /** Alerts that fire about it and what calls it. */
  readonly alerts: number;
  /** Neighbours that are not drawn. */
  readonly more: number;
}

export interface Line {
  readonly key: string;
  readonly from: string;
  readonly to: string;
  /** Edges that it stands for; none are listed between groups that the collector made. */
  readonly edges: readonly Edge[];
  readonly size: number;
  readonly connections: number;
  readonly level: Level;
  /** The worst of its edges' findings. */
  readonly finding?: Finding;
  readonly worst?: Edge;
  readonly confidence: number;
  readonly joined: boolean;
  /** Alerts that fire about it. */
  readonly alerts: number;
  /** Edges of it that nobody has declared. */
  readonly undeclared: number;
  /** What rewrites addresses on the way, as `vip`, `nat`, `gateway`. */
  readonly via: readonly Schema['ViaKind'][];
}

export interface Drawing {
  readonly things: readonly Thing[];
  readonly lines: readonly Line[];
  /** Things that are meant and not drawn. */
  readonly leftOut: number;
  /** Lines between things that are drawn, which are not. */
  readonly linesLeftOut: number;
}

/** Numbers of the time before, by key of an edge. */
export type Before = ReadonlyMap<string, Told>;

/** As a connection meets them. */
const VIA: readonly Schema['ViaKind'][] = ['vip', 'gateway', 'nat'];

/** The thing that a node belongs to. */
function place(node: Node, by: By): { key: string; kind: ThingKind; label: string } {
  if (node.kind !== 'process') return { key: node.key, kind: node.kind, label: node.id };
  const service = node.service ?? '';
  const host = node.hostname || (node.host ?? '');
  switch (by) {
    case 'service':
      return { key: `service:${service}`, kind: 'service', label: service };
    case 'host':
      return { key: `host:${host}`, kind: 'group', label: host };
    case 'namespace': {
      const name = node.tags?.namespace ?? '';
      return { key: `namespace:${name}`, kind: 'group', label: name };
    }
    default:
      return { key: node.key, kind: 'service', label: node.id };
  }
}

/** What to draw of an answer; of one with groups these, else its nodes grouped here. */
export function drawing(
  answer: Schema['Topology'],
  by: By,
  before: Before,
  declared: Declared = null,
  firing: Firing = NOTHING,
): Drawing {
  if (answer.grouped) return ofGroups(answer.grouped);
  const things = new Map<string, MutableThing>();
  const of = new Map<string, string>();
  for (const node of answer.nodes) {
    const { key, kind, label } = place(node, by);
    const thing = things.get(key) ?? newThing(key, kind, label);
    thing.nodes.push(node);
    thing.size += 1;
    if (node.host) thing.hostNames.add(node.host);
    addAlerts(thing, ofNode(firing, node));
    thing.more += node.more ?? 0;
    things.set(key, thing);
    of.set(node.id, key);
  }
  const lines = new Map<string, MutableLine>();
  for (const edge of [...answer.edges, ...answer.unjoined]) {
    const [from, to] = [of.get(edge.client), of.get(edge.server)];
    if (from === undefined || to === undefined) continue;
    const key = `${from} ${to}`;
    const line = lines.get(key) ?? newLine(key, from, to);
    addTo(line, edge, before.get(edge.key));
    if (isUndeclared(declared, edge.key)) line.undeclared += 1;
    addAlerts(line, ofEdge(firing, edge));
    lines.set(key, line);
  }
  for (const line of lines.values()) {
    for (const end of [line.from, line.to]) {
      const thing = things.get(end);
      if (thing) thing.connections += line.connections;
    }
    // What goes wrong shows at the end that is called.
    const server = things.get(line.to);
    if (server) server.alerts += line.alerts;
    if (server && (line.level === 'bad' || line.level === 'warn')) {
      server.level = worse(server.level, line.level);
    }
  }
  const all = [...things.values()].map(({ hostNames, ...thing }) => ({
    ...thing,
    hosts: hostNames.size,
  }));
  return {
    things: all,
    lines: [...lines.values()],
    leftOut: answer.left_out?.nodes ?? 0,
    linesLeftOut: 0,
  };
}

type MutableThing = { -readonly [K in keyof Omit<Thing, 'nodes' | 'hosts'>]: Thing[K] } & {
  nodes: Node[];
  hosts: number;
  hostNames: Set<string>;
};
type MutableLine = { -readonly [K in keyof Omit<Line, 'edges'>]: Line[K] } & { edges: Edge[] };

function newThing(key: string, kind: ThingKind, label: string): MutableThing {
  const level = kind === 'address' || kind === 'network' ? 'unknown' : 'ok';
  const hostNames = new Set<string>();
  return {
    key,
    kind,
    label,
    nodes: [],
    size: 0,
    hosts: 0,
    hostNames,
    level,
    connections: 0,
    alerts: 0,
    more: 0,
  };
}

/** What fires shows as badly as the rule has it. */
function addAlerts(to: { alerts: number; level: Level }, found: readonly AlertMark[]): void {
  to.alerts += found.length;
  for (const one of found) to.level = worse(to.level, one.severity === 'critical' ? 'bad' : 'warn');
}

function newLine(key: string, from: string, to: string): MutableLine {
  const numbers = {
    size: 0,
    connections: 0,
    confidence: 1,
    joined: true,
    undeclared: 0,
    alerts: 0,
  };
  return { key, from, to, edges: [], ...numbers, level: 'ok', via: [] };
}

function addTo(line: MutableLine, edge: Edge, before: Told | undefined): void {
  const found = findings(edge, before);
  const how = level(edge, found);
  const [worst] = found;
  if (worst && (line.finding === undefined || outweighs(worst, line.finding))) {
    line.finding = worst;
    line.worst = edge;
  }
  line.level = worse(line.level, how);
  line.edges.push(edge);
  line.size += 1;
  line.connections += edge.connections;
  line.confidence = Math.min(line.confidence, edge.confidence);
  line.joined &&= isJoined(edge);
  const kinds = new Set([...line.via, ...edge.via.map((via) => via.kind)]);
  line.via = VIA.filter((kind) => kinds.has(kind));
}

/** Whether one finding is worse than another. */
export function outweighs(one: Finding, other: Finding): boolean {
  if (one.level !== other.level) return one.level === 'bad';
  return one.n / one.of > other.n / other.of;
}

/** What the collector tells of groups beside sums; nothing of what it does not know. */
interface Marks {
  readonly alerts?: { readonly critical: number; readonly warning: number } | null;
  readonly undeclared?: number | null;
}

function alertsOf({ alerts }: Marks): number {
  return alerts ? alerts.critical + alerts.warning : 0;
}

/** How bad it is by what fires. */
function levelOf({ alerts }: Marks): Level {
  if (!alerts) return 'ok';
  return alerts.critical > 0 ? 'bad' : alerts.warning > 0 ? 'warn' : 'ok';
}

/** Groups that the collector made: sums, without what is between. */
function ofGroups(grouped: Schema['Grouped']): Drawing {
  const lines = grouped.edges.map((edge: Schema['GroupEdge'] & Marks): Line => {
    const share = edge.connections > 0 ? edge.wrong / edge.connections : 0;
    const unjoined: Level = edge.unjoined === edge.edges ? 'unknown' : 'ok';
    const failing: Level = share >= 0.001 ? 'bad' : edge.wrong > 0 ? 'warn' : unjoined;
    const level = worse(failing, levelOf(edge));
    return {
      key: `${edge.client} ${edge.server}`,
      from: edge.client,
      to: edge.server,
      edges: [],
      size: edge.edges,
      connections: edge.connections,
      level,
      ...(edge.wrong > 0 && {
        finding: {
          kind: 'failed',
          level: failing === 'bad' ? 'bad' : 'warn',
          n: edge.wrong,
          of: edge.connections,
        },
      }),
      confidence: edge.confidence,
      joined: edge.unjoined < edge.edges,
      undeclared: edge.undeclared ?? 0,
      alerts: alertsOf(edge),
      via: [],
    };
  });
  const touching = new Map<string, Line[]>(grouped.groups.map(({ key }) => [key, []]));
  for (const line of lines) {
    touching.get(line.from)?.push(line);
    if (line.to !== line.from) touching.get(line.to)?.push(line);
  }
  const things = grouped.groups.map((group: Schema['Group'] & Marks): Thing => {
    const own = touching.get(group.key) ?? [];
    // What goes wrong shows at the end that is called.
    const called = own.filter((line) => line.to === group.key && isWrong(line));
    // Those of edges within it are among its own.
    const from = called.filter((line) => line.from !== group.key);
    return {
      key: group.key,
      kind: 'group',
      label: group.label ?? '',
      nodes: [],
      size: group.nodes,
      hosts: 0,
      level: called.map((line) => line.level).reduce(worse, levelOf(group)),
      connections: own.reduce((sum, line) => sum + line.connections, 0),
      alerts: from.reduce((sum, line) => sum + line.alerts, alertsOf(group)),
      more: 0,
    };
  });
  return { things, lines, leftOut: grouped.left_out.nodes, linesLeftOut: 0 };
}

/** Most lines on the map: of more of them nobody sees where any leads. */
const MOST_LINES = 400;

/** What there is room for: what is wrong first, then what is used most. */
export function readable(of: Drawing, most = MOST_LINES): Drawing {
  if (of.lines.length <= most) return of;
  const marks = (line: Line) => Number(line.alerts > 0) + Number(line.undeclared > 0);
  const lines = [...of.lines].sort(
    (a, b) => rank(a.level) - rank(b.level) || marks(b) - marks(a) || b.connections - a.connections,
  );
  return { ...of, lines: lines.slice(0, most), linesLeftOut: of.lines.length - most };
}

/** What is wrong, and its ends. */
export function onlyWrong(of: Drawing): Drawing {
  return only(of, isWrong, (thing) => thing.alerts > 0);
}

/** What nobody has declared, and its ends. */
export function onlyUndeclared(of: Drawing): Drawing {
  return only(of, (line) => line.undeclared > 0);
}

function isWrong(line: Line): boolean {
  return line.level === 'bad' || line.level === 'warn';
}

function only(
  of: Drawing,
  wanted: (line: Line) => boolean,
  alone: (thing: Thing) => boolean = () => false,
): Drawing {
  const lines = of.lines.filter(wanted);
  const ends = new Set(lines.flatMap((line) => [line.from, line.to]));
  const things = of.things.filter((thing) => ends.has(thing.key) || alone(thing));
  return { ...of, lines, things };
}

/** Everything before and behind a thing: the paths that lead to it and on from it. */
export function paths(of: Drawing, key: string): { things: Set<string>; lines: Set<string> } {
  const found = { things: new Set([key]), lines: new Set<string>() };
  for (const forward of [true, false]) {
    const next = [key];
    const seen = new Set(next);
    for (let at = next.pop(); at !== undefined; at = next.pop()) {
      for (const line of of.lines) {
        const [near, far] = forward ? [line.from, line.to] : [line.to, line.from];
        if (near !== at) continue;
        found.lines.add(line.key);
        found.things.add(far);
        if (!seen.has(far)) {
          seen.add(far);
          next.push(far);
        }
      }
    }
  }
  return found;
}
