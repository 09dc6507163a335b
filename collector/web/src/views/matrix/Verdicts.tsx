// Verdicts: of every declared flow, and of every edge that is not plainly declared.
import type { ComponentChildren } from 'preact';
import type { Schema } from '../../api/client';
import { change, link, useRoute } from '../../app/route';
import type { Level } from '../../judge';
import { type Column, Table } from '../../parts/Table';
import { Tag } from '../../parts/Tag';
import { t } from '../../text';
import { clock, count } from '../../text/numbers';

type Report = Schema['MatrixReport'];
type Flow = Schema['MatrixFlow'];
type Edge = Schema['MatrixEdge'];
type Seen = Schema['MatrixSeenEdge'];
type Verdict = Schema['Verdict'];
type State = Schema['EdgeState'];

const VERDICTS: readonly [Verdict, Level | undefined][] = [
  ['violated', 'bad'],
  ['expired', 'warn'],
  ['undecided', 'unknown'],
  ['not_observable', 'warn'],
  ['unused', undefined],
  ['kept', 'ok'],
  ['used', 'ok'],
];
const STATES: readonly [State, Level | undefined][] = [
  ['violating', 'bad'],
  ['undeclared', 'bad'],
  ['undecided', 'unknown'],
  ['declared', 'ok'],
];

const SIGNS: Partial<Record<Level, string>> = { bad: '✕', warn: '!', ok: '✓', unknown: '?' };

function Word({ level, children }: { level: Level | undefined; children: ComponentChildren }) {
  return (
    <Tag {...(level && { level })}>
      {level && <span aria-hidden="true">{SIGNS[level]} </span>}
      {children}
    </Tag>
  );
}

/** What an edge is by the matrix. */
export function StateTag({ state }: { state: State }) {
  const level = STATES.find(([one]) => one === state)?.[1];
  return <Word level={level}>{t(`declared.${state}`)}</Word>;
}

function Why({ of }: { of: readonly Schema['Why'][] | undefined }) {
  if (!of || of.length === 0) return null;
  return <span class="dim then"> {of.map((one) => t(`why.${one}`)).join(', ')}</span>;
}

interface PillsProps {
  /** Name of the choice in the address. */
  readonly name: string;
  readonly chosen: string;
  readonly of: readonly (readonly [word: string, text: string, n: number])[];
}

/** What there is of each kind; pressed, only that. */
function Pills({ name, chosen, of }: PillsProps) {
  return (
    <fieldset class="tools" aria-label={t('matrix.only')}>
      {of
        .filter(([, , n]) => n > 0)
        .map(([word, text, n]) => (
          <button
            key={word}
            type="button"
            class={chosen === word ? 'pill on' : 'pill'}
            aria-pressed={chosen === word}
            onClick={() => change({ [name]: chosen === word ? '' : word }, true)}
          >
            <span class="num">{count(n)}</span> {text}
          </button>
        ))}
    </fieldset>
  );
}

function SeenEdges({ of }: { of: readonly Seen[] | undefined }) {
  return (
    <ul class="list">
      {(of ?? []).map((edge) => (
        <li key={edge.key}>
          <a href={link('edge', edge.key)}>
            {edge.client} → {edge.server}
          </a>{' '}
          <span class="dim">{how(edge)}</span>
        </li>
      ))}
    </ul>
  );
}

/** By what an edge is known, and how surely. */
function how(edge: Seen): string {
  const kinds = edge.evidence.map((kind) => t(`evidence.${kind}` as 'evidence.token'));
  const known = kinds.length > 0 ? kinds.join(', ') : t('level.unknown');
  return `${known} · ${t('edge.confidence', { n: edge.confidence })}`;
}

function time(ms: number | null | undefined): string {
  return ms ? clock(ms) : '–';
}

function iso(ms: number | null | undefined): string | null {
  return ms ? new Date(ms).toISOString() : null;
}

const RANKS = new Map(VERDICTS.map(([verdict], at) => [verdict, at]));

function flowColumns(): Column<Flow>[] {
  return [
    {
      id: 'verdict',
      title: t('matrix.verdict'),
      value: (flow) => flow.verdict,
      order: (flow) => RANKS.get(flow.verdict) ?? 0,
      show: (flow) => (
        <>
          <Word level={VERDICTS.find(([one]) => one === flow.verdict)?.[1]}>
            {t(`verdict.${flow.verdict}`)}
          </Word>
          <Why of={flow.why} />
        </>
      ),
    },
    {
      id: 'id',
      title: t('matrix.id'),
      value: (flow) => flow.id,
      show: (flow) => <span title={t('matrix.line', { n: flow.line })}>{flow.id}</span>,
    },
    {
      id: 'source',
      title: t('matrix.source'),
      value: (flow) => flow.source,
    },
    { id: 'destination', title: t('matrix.destination'), value: (flow) => flow.destination },
    {
      id: 'port',
      title: t('matrix.port'),
      value: (flow) => flow.port,
      show: (flow) => (
        <>
          <span class="num">{flow.port || t('matrix.all')}</span>{' '}
          {flow.action === 'deny' && <Tag>{t('matrix.deny')}</Tag>}
        </>
      ),
    },
    { id: 'owner', title: t('matrix.owner'), value: (flow) => flow.owner || null },
    { id: 'valid_until', title: t('matrix.valid'), value: (flow) => flow.valid_until || null },
    {
      id: 'connections',
      title: t('edge.connections'),
      value: (flow) => (flow.verdict === 'not_observable' ? null : flow.connections),
      show: (flow) => (flow.verdict === 'not_observable' ? '–' : count(flow.connections)),
      number: true,
    },
    {
      id: 'first_seen',
      title: t('matrix.first'),
      value: (flow) => iso(flow.first_seen_ms),
      show: (flow) => <span class="num">{time(flow.first_seen_ms)}</span>,
    },
    {
      id: 'last_seen',
      title: t('matrix.last'),
      value: (flow) => iso(flow.last_seen_ms),
      show: (flow) => <span class="num">{time(flow.last_seen_ms)}</span>,
    },
    {
      id: 'seen',
      title: t('matrix.seen'),
      value: (flow) => (flow.seen ?? []).map((e) => `${e.client} -> ${e.server}`).join('; '),
      show: (flow) => <SeenEdges of={flow.seen} />,
    },
    { id: 'comment', title: t('matrix.comment'), value: (flow) => flow.comment || null },
  ];
}

/** Every declared flow. */
export function FlowsTable({ report }: { report: Report }) {
  const chosen = useRoute().query.verdict ?? '';
  const rows = report.flows.filter((flow) => chosen === '' || flow.verdict === chosen);
  const counts = VERDICTS.map(([verdict]) => {
    const n = report.summary[verdict];
    return [verdict, t(`verdict.${verdict}`), n] as const;
  });
  return (
    <>
      <Pills name="verdict" chosen={chosen} of={counts} />
      <Table
        name="matrix-flows"
        columns={flowColumns()}
        rows={rows}
        keyOf={(flow) => `${flow.line} ${flow.id}`}
        sort="verdict"
      />
    </>
  );
}

const PLACES = new Map(STATES.map(([state], at) => [state, at]));

function edgeColumns(): Column<Edge>[] {
  return [
    {
      id: 'state',
      title: t('matrix.verdict'),
      value: (edge) => edge.state,
      order: (edge) => PLACES.get(edge.state) ?? 0,
      show: (edge) => (
        <>
          <StateTag state={edge.state} />
          <Why of={edge.why} />
        </>
      ),
    },
    {
      id: 'client',
      title: t('table.from'),
      value: (edge) => edge.client,
      show: (edge) => <a href={link('node', edge.client)}>{edge.client}</a>,
    },
    {
      id: 'server',
      title: t('table.to'),
      value: (edge) => edge.server,
      show: (edge) => <a href={link('node', edge.server)}>{edge.server}</a>,
    },
    {
      id: 'endpoint',
      title: t('table.endpoint'),
      value: (edge) => edge.endpoint,
      show: (edge) => (
        <a class="mono" href={link('edge', edge.key)}>
          {edge.endpoint}
        </a>
      ),
    },
    {
      id: 'via',
      title: t('level.via'),
      value: (edge) => (edge.via ?? []).join(', ') || null,
      show: (edge) => <span class="mono">{(edge.via ?? []).join(', ') || '–'}</span>,
    },
    {
      id: 'connections',
      title: t('edge.connections'),
      value: (edge) => edge.connections,
      show: (edge) => count(edge.connections),
      number: true,
    },
    {
      id: 'failed',
      title: t('matrix.failed.column'),
      value: (edge) => edge.failed,
      show: (edge) => count(edge.failed),
      number: true,
    },
    {
      id: 'first_seen',
      title: t('matrix.first'),
      value: (edge) => iso(edge.first_seen_ms),
      show: (edge) => <span class="num">{time(edge.first_seen_ms)}</span>,
    },
    {
      id: 'last_seen',
      title: t('matrix.last'),
      value: (edge) => iso(edge.last_seen_ms),
      show: (edge) => <span class="num">{time(edge.last_seen_ms)}</span>,
    },
    { id: 'evidence', title: t('edge.how'), value: how },
    {
      id: 'flows',
      title: t('matrix.flows.of'),
      value: (edge) => (edge.flows ?? []).join(', ') || null,
    },
  ];
}

/** Every edge that is not plainly declared. */
export function EdgesTable({ report }: { report: Report }) {
  const chosen = useRoute().query.state ?? '';
  if (report.edges.length === 0) return <p class="notice">{t('matrix.edges.none')}</p>;
  const rows = report.edges.filter((edge) => chosen === '' || edge.state === chosen);
  const counts = STATES.map(([state]) => {
    const n = report.edges.filter((edge) => edge.state === state).length;
    return [state, t(`declared.${state}`), n] as const;
  });
  return (
    <>
      <Pills name="state" chosen={chosen} of={counts} />
      <Table
        name="matrix-edges"
        columns={edgeColumns()}
        rows={rows}
        keyOf={(edge) => edge.key}
        sort="state"
      />
      {report.edges_left_out > 0 && (
        <p class="notice">{t('matrix.left', { n: report.edges_left_out })}</p>
      )}
    </>
  );
}
