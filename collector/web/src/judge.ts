// What is wrong with an edge, by what both sides counted. Pure.
import type { Schema } from './api/client';

export type Level = 'ok' | 'unknown' | 'warn' | 'bad';
type Edge = Schema['KeyedEdge'];
type Counters = Schema['EdgeCounters'];

export type FindingKind =
  | 'refused'
  | 'failed'
  | 'reset_server'
  | 'reset_client'
  | 'retransmits'
  | 'zero_windows'
  | 'slow';

export interface Finding {
  readonly kind: FindingKind;
  readonly level: 'warn' | 'bad';
  /** How many. */
  readonly n: number;
  /** Of how many. */
  readonly of: number;
}

/** What both sides together say of an edge; null where neither can. */
export interface Told {
  readonly attempts: number;
  readonly failed: number;
  readonly refused: number;
  readonly resetServer: number | null;
  readonly resetClient: number | null;
  readonly retransmits: number | null;
  readonly segments: number | null;
  readonly zeroWindows: number | null;
  readonly toServer: number | null;
  readonly toClient: number | null;
  readonly open: number | null;
  readonly connect: Schema['Percentiles'] | null;
  readonly rtt: Schema['Percentiles'] | null;
}

/** Shares from which on something is worth a look, and from which on it is a failure. */
const LIMITS: Record<Exclude<FindingKind, 'slow' | 'zero_windows'>, [number, number]> = {
  refused: [0, 0.001],
  failed: [0, 0.01],
  reset_server: [0, 0.001],
  reset_client: [0.01, 0.1],
  retransmits: [0.01, 0.05],
};

/** Of fewer values than this nothing is said about how long it takes. */
const FEW = 20;

/** The greater one of two sides; null where neither knows. */
function most(a: number | null | undefined, b: number | null | undefined): number | null {
  if (a === null || a === undefined) return b ?? null;
  return b === null || b === undefined ? a : Math.max(a, b);
}

function sum(a: number | null | undefined, b: number | null | undefined): number | null {
  if (a === null || a === undefined) return b ?? null;
  return a + (b ?? 0);
}

/** Both sides of an edge as one. */
export function told(
  client: Counters | null | undefined,
  server: Counters | null | undefined,
  connections: number,
): Told {
  const failed = most(client?.failed, server?.failed) ?? 0;
  return {
    attempts: Math.max(connections, (client ?? server)?.opened ?? 0) + failed,
    failed,
    refused: most(client?.refused, server?.refused) ?? 0,
    resetServer: most(client?.reset_remote, server?.reset_local),
    resetClient: most(client?.reset_local, server?.reset_remote),
    retransmits: sum(client?.retransmits, server?.retransmits),
    segments: sum(client?.segments_sent, server?.segments_sent),
    zeroWindows: sum(client?.zero_windows, server?.zero_windows),
    toServer: client?.bytes_sent ?? server?.bytes_received ?? null,
    toClient: client?.bytes_received ?? server?.bytes_sent ?? null,
    open: client?.open ?? server?.open ?? null,
    connect: client?.connect_latency_us ?? null,
    rtt: client?.rtt_us ?? server?.rtt_us ?? null,
  };
}

/** What is wrong, the worst first. */
export function findings(edge: Edge, before?: Told): Finding[] {
  const all = told(edge.client_counters, edge.server_counters, edge.connections);
  const found: Finding[] = [];
  const add = (kind: keyof typeof LIMITS, n: number | null, of: number | null) => {
    const [warn, bad] = LIMITS[kind];
    if (n === null || of === null || n <= 0 || of <= 0) return;
    if (n / of >= bad) found.push({ kind, level: 'bad', n, of });
    else if (n / of >= warn) found.push({ kind, level: 'warn', n, of });
  };
  add('refused', all.refused, all.attempts);
  add('failed', all.failed - all.refused, all.attempts);
  add('reset_server', all.resetServer, edge.connections);
  add('reset_client', all.resetClient, edge.connections);
  add('retransmits', all.retransmits, all.segments);
  const zero = all.zeroWindows ?? 0;
  if (zero > 0) found.push({ kind: 'zero_windows', level: 'warn', n: zero, of: edge.connections });
  const [now, then] = [all.rtt?.p95, before?.rtt?.p95];
  if (now && then && edge.connections >= FEW && now > 2 * then) {
    found.push({ kind: 'slow', level: 'warn', n: now, of: then });
  }
  return found.sort((a, b) => Number(b.level === 'bad') - Number(a.level === 'bad'));
}

/** The step in which something began, where one before it was told of and had none of it. */
export function since(kind: FindingKind, steps: readonly Schema['Step'][]): Schema['Step'] | null {
  let clean = false;
  for (const step of steps) {
    if (step.connections === null || step.connections === undefined) continue;
    const n = countOf(kind, told(step.client, step.server, step.connections));
    if (n === null) return null;
    if (n > 0) return clean ? step : null;
    clean = true;
  }
  return null;
}

/** How often something happened; null where nobody can tell, or it is not counted. */
export function countOf(kind: FindingKind, of: Told): number | null {
  switch (kind) {
    case 'refused':
      return of.refused;
    case 'failed':
      return of.failed - of.refused;
    case 'reset_server':
      return of.resetServer;
    case 'reset_client':
      return of.resetClient;
    case 'retransmits':
      return of.retransmits;
    case 'zero_windows':
      return of.zeroWindows;
    case 'slow':
      return null;
  }
}

/** Whether both ends are known. */
export function isJoined(edge: Edge): boolean {
  return edge.reason === null || edge.reason === undefined;
}

/** How an edge is, in a word. */
export function level(edge: Edge, found: readonly Finding[]): Level {
  const [worst] = found;
  if (worst !== undefined) return worst.level;
  return isJoined(edge) ? 'ok' : 'unknown';
}

/** Edges that are not plainly declared, by their keys; nothing of it where no matrix is declared. */
export type Declared = ReadonlyMap<string, Schema['EdgeState']> | null;

/** Whether an edge is one that nobody has allowed. */
export function isUndeclared(declared: Declared, key: string): boolean {
  const state = declared?.get(key);
  return state === 'undeclared' || state === 'violating';
}

const ORDER: Record<Level, number> = { ok: 0, unknown: 1, warn: 2, bad: 3 };

/** The worse one of two. */
export function worse(a: Level, b: Level): Level {
  return ORDER[a] >= ORDER[b] ? a : b;
}

/** For sorting: the worst first. */
export function rank(of: Level): number {
  return -ORDER[of];
}
