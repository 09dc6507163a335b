// Edges as a table.
import type { Schema } from '../api/client';
import { link } from '../app/route';
import { type Declared, findings, isUndeclared, level, rank, told } from '../judge';
import type { Before } from '../map/model';
import { t } from '../text';
import { brief } from '../text/findings';
import { clock, count, micros, share } from '../text/numbers';
import { type Column, Table } from './Table';
import { LevelTag, Tag } from './Tag';

type Edge = Schema['KeyedEdge'];

interface Props {
  readonly name: string;
  readonly edges: readonly Edge[];
  readonly before: Before;
  readonly declared: Declared;
  /** Only those on which something is wrong. */
  readonly wrong?: boolean;
  /** Only those that nobody has declared. */
  readonly undeclared?: boolean;
}

export function EdgeTable(props: Props) {
  const { name, edges, before, declared } = props;
  const of = (edge: Edge) => findings(edge, before.get(edge.key));
  const isShown = (edge: Edge) =>
    (!props.wrong || of(edge).length > 0) &&
    (!props.undeclared || isUndeclared(declared, edge.key));
  const shown = edges.filter(isShown);
  const all = (edge: Edge) => told(edge.client_counters, edge.server_counters, edge.connections);
  const columns: Column<Edge>[] = [
    {
      id: 'state',
      title: t('table.level'),
      value: (edge) => rank(level(edge, of(edge))),
      show: (edge) => <EdgeState edge={edge} before={before} />,
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
      value: (edge) => edge.server_endpoint,
      show: (edge) => (
        <a class="mono" href={link('edge', edge.key)}>
          {edge.server_endpoint}
        </a>
      ),
    },
    {
      id: 'via',
      title: t('level.via'),
      value: (edge) => edge.via.map((via) => `${via.kind} ${via.address}`).join(', '),
      show: (edge) =>
        edge.via.length === 0
          ? '–'
          : edge.via.map((via) => (
              <Tag level="via" key={`${via.kind} ${via.address} ${via.seen_by}`}>
                {t(`via.${via.kind}`)} {via.address}
              </Tag>
            )),
    },
    {
      id: 'connections',
      title: t('edge.connections'),
      value: (edge) => edge.connections,
      show: (edge) => (
        <>
          {count(edge.connections)} <Then n={before.get(edge.key)?.attempts} />
        </>
      ),
      number: true,
    },
    {
      id: 'rtt_p95_us',
      title: t('edge.rtt'),
      value: (edge) => all(edge).rtt?.p95 ?? null,
      show: (edge) => `${micros(all(edge).rtt?.p50)} / ${micros(all(edge).rtt?.p95)}`,
      number: true,
    },
    {
      id: 'retransmits',
      title: t('edge.retransmits'),
      value: (edge) => all(edge).retransmits,
      show: (edge) => {
        const { retransmits, segments } = all(edge);
        return retransmits === null ? t('unknown') : share(retransmits, segments ?? 0);
      },
      number: true,
    },
    ...(declared ? [matrixColumn(declared)] : []),
    {
      id: 'first_seen',
      title: t('matrix.first'),
      value: (edge) => new Date(edge.first_seen_ms).toISOString(),
      show: (edge) => <span class="num">{clock(edge.first_seen_ms)}</span>,
    },
    {
      id: 'confidence',
      title: t('edge.how'),
      value: (edge) => edge.confidence,
      number: true,
      show: How,
    },
  ];
  return (
    <Table name={name} columns={columns} rows={shown} keyOf={(edge) => edge.key} sort="state" />
  );
}

function matrixColumn(declared: NonNullable<Declared>): Column<Edge> {
  const state = (edge: Edge) => declared.get(edge.key) ?? 'declared';
  return {
    id: 'matrix',
    title: t('nav.matrix'),
    value: state,
    show: (edge) => {
      const is = state(edge);
      const level = is === 'declared' ? 'ok' : is === 'undecided' ? 'unknown' : 'bad';
      return <Tag level={level}>{t(`declared.${is}`)}</Tag>;
    },
  };
}

function How(edge: Edge) {
  const kinds = edge.evidence.map((one) => t(`evidence.${one.kind}`)).join(', ');
  return (
    <span title={edge.reason ? t(`reason.${edge.reason}`) : kinds}>
      {kinds === '' ? t('level.unknown') : kinds} {edge.confidence}
    </span>
  );
}

function Then({ n }: { n: number | undefined }) {
  return <span class="dim then">{n === undefined ? '' : t('before', { n: count(n) })}</span>;
}

/** How an edge is, in as few words as there can be. */
export function EdgeState({ edge, before }: { edge: Edge; before: Before }) {
  const found = findings(edge, before.get(edge.key));
  const how = level(edge, found);
  const [worst] = found;
  return worst ? <Tag level={how}>{brief(worst)}</Tag> : <LevelTag level={how} />;
}
