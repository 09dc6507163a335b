// What is known of an edge: a sentence, numbers beside those of before, and how we know.
import type { Schema } from '../api/client';
import { link } from '../app/route';
import type { Declared } from '../judge';
import { countOf, type Finding, findings, isJoined, since, type Told, told } from '../judge';
import { type Key, t } from '../text';
import { sentence } from '../text/findings';
import { bytes, clock, count, micros, share, span } from '../text/numbers';
import { Tag } from './Tag';

type Edge = Schema['KeyedEdge'];

interface Props {
  /** Steps of the edge, where they are known: they say since when. */
  readonly steps?: readonly Schema['Step'][];
  readonly edge: Edge;
  readonly before: Told | undefined;
  /** Length of the window, milliseconds. */
  readonly length: number;
}

/** What is wrong, in words that a colleague would use. */
export function EdgeSay({ edge, before, length, steps = [] }: Props) {
  const found = findings(edge, before);
  const worst = found[0]?.level ?? (isJoined(edge) ? 'ok' : 'unknown');
  return (
    <div class={`say ${worst}`}>
      {found.length === 0 && t('say.fine', { client: edge.client, server: edge.server })}
      {found.map((finding) => (
        <p key={finding.kind}>
          <strong>{capital(sentence(finding))}.</strong>{' '}
          <Then finding={finding} before={before} length={length} />{' '}
          <Since finding={finding} steps={steps} />
        </p>
      ))}
      {edge.reason && <p>{capital(t(`reason.${edge.reason}`))}.</p>}
    </div>
  );
}

/** The same number of the time before. */
function Then({
  finding,
  before,
  length,
}: {
  finding: Finding;
  before: Told | undefined;
  length: number;
}) {
  if (before === undefined) return null;
  const n = countOf(finding.kind, before);
  if (n === null) return null;
  const range = span(length);
  return <span>{n === 0 ? t('say.before.none', { range }) : t('say.before', { n, range })}</span>;
}

/** When it began, where there was a time without it. */
function Since({ finding, steps }: { finding: Finding; steps: readonly Schema['Step'][] }) {
  const began = since(finding.kind, steps);
  return (
    began && <span>{t('say.since', { from: clock(began.from_ms), to: clock(began.to_ms) })}</span>
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Numbers, each beside what it was before. */
export function EdgeNumbers({ edge, before, length }: Props) {
  const now = told(edge.client_counters, edge.server_counters, edge.connections);
  const then = before;
  const apportioned = edge.client_counters?.apportioned || edge.server_counters?.apportioned;
  const two = (p: Schema['Percentiles'] | null | undefined) =>
    p ? `${micros(p.p50)} / ${micros(p.p95)}` : null;
  const part = (of: Told | undefined) =>
    of?.retransmits === null || of?.retransmits === undefined || !of.segments
      ? null
      : share(of.retransmits, of.segments);
  const size = (n: number | null) => (n === null ? null : bytes(n));
  const interval = edge.interval
    ? t('edge.between', { low: edge.interval.low, high: edge.interval.high })
    : t('edge.exact');
  return (
    <div class="kv num">
      <Figure
        name="edge.connections"
        pairs={[[edge.connections, then && then.attempts - then.failed]]}
        now={count(edge.connections)}
        then={then && count(then.attempts - then.failed)}
        note={interval}
      />
      {now.failed > 0 && (
        <Figure name="edge.failed" now={count(now.failed)} then={then && count(then.failed)} bad />
      )}
      <Figure
        name="edge.reset_server"
        pairs={[[now.resetServer, then?.resetServer]]}
        now={known(now.resetServer)}
        then={then && known(then.resetServer)}
        bad={!!now.resetServer}
      />
      <Figure
        name="edge.reset_client"
        pairs={[[now.resetClient, then?.resetClient]]}
        now={known(now.resetClient)}
        then={then && known(then.resetClient)}
        bad={!!now.resetClient}
      />
      <Figure
        name="edge.connect"
        pairs={[
          [now.connect?.p50, then?.connect?.p50],
          [now.connect?.p95, then?.connect?.p95],
        ]}
        now={two(now.connect)}
        then={then && two(then.connect)}
      />
      <Figure
        name="edge.rtt"
        pairs={[
          [now.rtt?.p50, then?.rtt?.p50],
          [now.rtt?.p95, then?.rtt?.p95],
        ]}
        now={two(now.rtt)}
        then={then && two(then.rtt)}
      />
      <Figure
        name="edge.retransmits"
        pairs={[
          [now.retransmits, then?.retransmits],
          [now.segments, then?.segments],
        ]}
        now={part(now)}
        then={then && part(then)}
      />
      <Figure
        name="edge.zero"
        pairs={[[now.zeroWindows, then?.zeroWindows]]}
        now={known(now.zeroWindows)}
        then={then && known(then.zeroWindows)}
        bad={!!now.zeroWindows}
      />
      <Figure
        name="edge.sent"
        pairs={[[now.toServer, then?.toServer]]}
        now={size(now.toServer)}
        then={then && size(then.toServer)}
      />
      <Figure
        name="edge.back"
        pairs={[[now.toClient, then?.toClient]]}
        now={size(now.toClient)}
        then={then && size(then.toClient)}
      />
      <Figure
        name="edge.open"
        pairs={[[now.open, then?.open]]}
        now={known(now.open)}
        then={then && known(then.open)}
      />
      {then === undefined && length > 0 && (
        <p class="dim wide">{t('before.unknown', { range: span(length) })}</p>
      )}
      {apportioned && <p class="dim wide">{t('edge.apportioned')}</p>}
    </div>
  );
}

function known(n: number | null): string | null {
  return n === null ? null : count(n);
}

/** Within a tenth, nothing has changed. */
const ALIKE = 0.1;

/** Whether numbers are what they were; what is not known is like nothing. */
function like(pairs: FigureProps['pairs'] = []): boolean {
  const same = ([now, then]: readonly [number | null | undefined, number | null | undefined]) =>
    typeof now === 'number' && typeof then === 'number' && Math.abs(now - then) <= then * ALIKE;
  return pairs.length > 0 && pairs.every(same);
}

interface FigureProps {
  readonly name: Key;
  /** Null where it cannot be measured. */
  readonly now: string | null;
  readonly then: string | null | undefined;
  /** The same as numbers, now and then, to see whether they are alike. */
  readonly pairs?: readonly (readonly [number | null | undefined, number | null | undefined])[];
  readonly note?: string;
  readonly bad?: boolean;
}

function Figure({ name, now, then, pairs = [], note, bad = false }: FigureProps) {
  return (
    <>
      <span>{t(name)}</span>
      <b class={bad ? 'bad' : ''} title={now === null ? t('unmeasured') : undefined}>
        {now ?? t('unknown')}
      </b>
      <span class="notes">
        {note && <Tag>{note}</Tag>}
        {then !== undefined && like(pairs) && (
          <Tag>
            <span title={t('before', { n: then ?? '–' })}>{t('before.like')}</span>
          </Tag>
        )}
        {then !== undefined && !like(pairs) && (
          <Tag {...(bad && then === '0' && { level: 'bad' as const })}>
            {t('before', { n: then ?? '–' })}
          </Tag>
        )}
      </span>
    </>
  );
}

/** What it is by the declared matrix. */
export function EdgeDeclared({ of, declared }: { of: string; declared: Declared }) {
  if (!declared) return <p class="dim">{t('edge.declared.unknown')}</p>;
  const state = declared.get(of);
  // Those that are plainly declared are not listed.
  if (!state || state === 'declared') {
    return <p class="dim">{t('edge.declared.yes')}</p>;
  }
  const level = state === 'undecided' ? 'unknown' : 'bad';
  return (
    <p>
      <a href={link('matrix', '', { tab: 'edges', state })}>
        <Tag level={level}>{t(`declared.${state}`)}</Tag>
      </a>
    </p>
  );
}

/** Evidence, confidence, who reports, since when. */
export function EdgeHow({ edge }: { edge: Edge }) {
  const most = Math.max(...edge.evidence.map((one) => one.connections), 1);
  const sides = [edge.client_counters && 'client', edge.server_counters && 'server'].filter(
    Boolean,
  );
  const side = sides[0] === 'server' ? t('side.server') : t('side.client');
  const who = sides.length === 2 ? t('edge.both') : t('edge.one', { side });
  const seen = t('edge.since', {
    first: clock(edge.first_seen_ms),
    last: clock(edge.last_seen_ms),
  });
  return (
    <div class="how">
      {edge.evidence.map((one) => (
        <div class={`evidence ${one.kind}`} key={one.kind}>
          <progress value={one.connections} max={most} aria-hidden="true" />
          <span>
            {t(`evidence.${one.kind}`)} <span class="num">{count(one.connections)}</span>
          </span>
        </div>
      ))}
      <p class="dim">
        {[
          t('edge.confidence', { n: edge.confidence }),
          who,
          edge.sampled ? t('edge.sampled') : '',
          seen,
        ]
          .filter((part) => part !== '')
          .join(' · ')}
      </p>
      {edge.unknown_owners?.map((owner) => (
        <p class="dim" key={owner}>
          {t('edge.owner', { side: t(`side.${owner}`) })}
        </p>
      ))}
      {edge.candidates && edge.candidates.length > 0 && (
        <p class="dim">{t('edge.candidates', { list: edge.candidates.join(', ') })}</p>
      )}
    </div>
  );
}

/** Where it goes and through what. */
export function EdgeWay({ edge }: { edge: Edge }) {
  return (
    <div class="way">
      <span class="mono">{edge.server_endpoint}</span>
      {edge.via.map((via) => (
        <span key={`${via.kind} ${via.address} ${via.seen_by}`} class="tag via">
          {t(`via.${via.kind}`)} <span class="mono">{via.address}</span>
        </span>
      ))}
    </div>
  );
}

/** The whole of an edge beside the map. */
export function EdgePanel({
  edge,
  before,
  length,
  declared,
}: Props & { readonly declared: Declared }) {
  return (
    <>
      <h2>
        <a href={link('node', edge.client)}>{edge.client}</a> →{' '}
        <a href={link('node', edge.server)}>{edge.server}</a>
      </h2>
      <EdgeWay edge={edge} />
      <EdgeSay edge={edge} before={before} length={length} />
      <h3>{t('edge.numbers')}</h3>
      <EdgeNumbers edge={edge} before={before} length={length} />
      <h3>{t('edge.how')}</h3>
      <EdgeHow edge={edge} />
      <h3>{t('edge.declared')}</h3>
      <EdgeDeclared of={edge.key} declared={declared} />
      <h3>{t('edge.next')}</h3>
      <p>
        <a href={link('edge', edge.key)}>{t('edge.open.view')}</a>
      </p>
    </>
  );
}
