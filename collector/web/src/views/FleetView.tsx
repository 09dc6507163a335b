// Every agent: whether it reports, what it can see and why not more, what it lost, what it costs.

import { ask, type Schema } from '../api/client';
import { useAsk } from '../app/ask';
import { link } from '../app/route';
import { useBeat } from '../app/time';
import { Facts } from '../parts/Facts';
import { Empty, Evicted, State } from '../parts/State';
import { type Column, Table } from '../parts/Table';
import { Tag } from '../parts/Tag';
import { t } from '../text';
import { ago, bytes, clock, count, micros, share, span } from '../text/numbers';

type Agent = Schema['Agent'];

/** A host that has not reported for so long is silent: some intervals, and a word in between. */
const SILENT_MS = 60_000;
/** Most hosts that are asked for, page by page. */
const MOST = 5000;

/** All hosts, page by page. */
export async function fleet(signal: AbortSignal): Promise<Schema['FleetPage']> {
  const first = await ask('/api/v1/fleet', { query: { limit: 1000 }, signal });
  const hosts = [...first.hosts];
  let next = first.next;
  while (next && hosts.length < MOST) {
    const page = await ask('/api/v1/fleet', { query: { limit: 1000, cursor: next }, signal });
    hosts.push(...page.hosts);
    next = page.next;
  }
  return { ...first, hosts };
}

/** Families that a host does without, each with its reason. */
export function skipped(agent: Agent): [string, string][] {
  return agent.plan.filter(([, how]) => how.startsWith('skip')) as [string, string][];
}

export function FleetView() {
  const beat = useBeat();
  const answer = useAsk('fleet', beat, fleet);
  return (
    <State of={answer} what="what.fleet">
      {({ hosts, evicted, credentials_refused: refused }) => (
        <article class="view">
          <header>
            <h1>{t('nav.fleet')}</h1>
          </header>
          {hosts.length === 0 ? (
            <Empty what="empty.fleet">
              <p>{t('empty.fleet.do')}</p>
            </Empty>
          ) : (
            <>
              <FleetSay hosts={hosts} now={answer.at ?? Date.now()} />
              <Evicted at={evicted?.before_ms} from={0} />
              <Hosts hosts={hosts} now={answer.at ?? Date.now()} />
            </>
          )}
          {refused && refused.length > 0 && (
            <section>
              <h2>{t('fleet.refused')}</h2>
              <Json of={refused} />
            </section>
          )}
        </article>
      )}
    </State>
  );
}

function nameOf(agent: Agent): string {
  return agent.hostname || agent.host.slice(0, 8);
}

function names(of: readonly Agent[]): string {
  const shown = of.slice(0, 5).map(nameOf);
  return of.length > 5 ? `${shown.join(', ')}, +${of.length - 5}` : shown.join(', ');
}

function FleetSay({ hosts, now }: { hosts: readonly Agent[]; now: number }) {
  const silent = hosts.filter((host) => now - host.last_seen_ms > SILENT_MS);
  const blind = hosts.filter((host) => host.mode === 'observe');
  const lost = hosts.filter((host) => host.drops.length > 0);
  const level = lost.length > 0 || silent.length > 0 ? 'warn' : 'ok';
  const of = (key: 'fleet.silent' | 'fleet.blind' | 'fleet.lost', all: readonly Agent[]) =>
    all.length > 0 && <p>{t(key, { n: all.length, names: names(all) })}</p>;
  return (
    <div class={`say ${level}`}>
      <p>
        <strong>
          {t('fleet.say', {
            n: hosts.length,
            fresh: hosts.length - silent.length,
            within: span(SILENT_MS),
          })}
        </strong>
      </p>
      {of('fleet.silent', silent)}
      {of('fleet.lost', lost)}
      {of('fleet.blind', blind)}
      {silent.length + lost.length === 0 && <p>{t('fleet.well')}</p>}
    </div>
  );
}

function Hosts({ hosts, now }: { hosts: readonly Agent[]; now: number }) {
  const lost = (agent: Agent) => agent.drops.reduce((sum, [, n]) => sum + n, 0);
  const columns: Column<Agent>[] = [
    {
      id: 'host',
      title: t('fleet.host'),
      value: nameOf,
      show: (agent) => <a href={link('host', agent.host)}>{nameOf(agent)}</a>,
    },
    {
      id: 'last_seen_ms',
      title: t('fleet.seen'),
      value: (agent) => agent.last_seen_ms,
      show: (agent) => {
        const old = now - agent.last_seen_ms > SILENT_MS;
        return <Tag {...(old && { level: 'warn' as const })}>{ago(agent.last_seen_ms, now)}</Tag>;
      },
    },
    {
      id: 'mode',
      title: t('fleet.mode'),
      value: (agent) => agent.mode,
      show: (agent) => <Mode agent={agent} />,
    },
    {
      id: 'skipped',
      title: t('fleet.cannot'),
      value: (agent) =>
        skipped(agent)
          .map(([family, how]) => `${family}: ${how}`)
          .join('; '),
      show: (agent) => <Skipped agent={agent} />,
    },
    {
      id: 'kernel',
      title: t('fleet.kernel'),
      value: (agent) => agent.kernel,
      show: (agent) => <span class="mono">{agent.kernel}</span>,
    },
    { id: 'agent', title: t('fleet.agent'), value: (agent) => agent.agent },
    {
      id: 'lost',
      title: t('fleet.lost.column'),
      value: lost,
      show: (agent) => (lost(agent) > 0 ? <Tag level="bad">{count(lost(agent))}</Tag> : '0'),
      number: true,
    },
    {
      id: 'missing',
      title: t('fleet.missing'),
      value: (agent) => agent.batches_missing,
      number: true,
    },
    { id: 'spool', title: t('fleet.spool'), value: (agent) => agent.spool_depth, number: true },
    {
      id: 'cpu_share',
      title: t('fleet.cpu'),
      value: (agent) => agent.cost.cpu_share,
      show: (agent) => (agent.cost.cpu_share === null ? '–' : share(agent.cost.cpu_share, 1)),
      number: true,
    },
    {
      id: 'rss_bytes',
      title: t('fleet.memory'),
      value: (agent) => agent.cost.rss_bytes,
      show: (agent) => bytes(agent.cost.rss_bytes),
      number: true,
    },
    {
      id: 'clock_ahead_ms',
      title: t('fleet.clock'),
      value: (agent) => agent.clock_ahead_ms,
      show: (agent) => (agent.clock_ahead_ms === 0 ? '0' : micros(agent.clock_ahead_ms * 1000)),
      number: true,
    },
  ];
  return (
    <Table
      name="fleet"
      columns={columns}
      rows={hosts}
      keyOf={(agent) => agent.host}
      sort="host"
      most={200}
    />
  );
}

function Mode({ agent }: { agent: Agent }) {
  return (
    <Tag {...(agent.mode === 'observe' && { level: 'unknown' as const })}>
      {agent.mode || t('unknown')}
    </Tag>
  );
}

function Skipped({ agent }: { agent: Agent }) {
  return (
    <span class="dim" lang="en">
      {skipped(agent)
        .map(([family, how]) => `${family}: ${how.replace(/^skip:?\s*/, '')}`)
        .join('; ')}
    </span>
  );
}

/** One host and its agent. */
export function HostView({ id }: { id: string }) {
  const beat = useBeat();
  const answer = useAsk('fleet', beat, fleet);
  return (
    <State of={answer} what="what.fleet">
      {({ hosts }) => {
        const agent = hosts.find((host) => host.host === id || host.hostname === id);
        return agent ? (
          <Host agent={agent} now={answer.at ?? Date.now()} />
        ) : (
          <Empty what="search.none" />
        );
      }}
    </State>
  );
}

function Host({ agent, now }: { agent: Agent; now: number }) {
  const old = now - agent.last_seen_ms > SILENT_MS;
  return (
    <article class="view">
      <header>
        <h1>{nameOf(agent)}</h1>
        <p class="dim">
          <span class="mono">{agent.kernel}</span> · {t('fleet.agent')} {agent.agent} ·{' '}
          {t('fleet.mode')} <Mode agent={agent} /> ·{' '}
          <a href={link('map', '', { find: nameOf(agent), by: 'host' })}>{t('node.focus')}</a>
        </p>
      </header>
      {old && <p class="say warn">{t('fleet.old', { ago: span(now - agent.last_seen_ms) })}</p>}
      {agent.drops.length > 0 && (
        <div class="say bad">
          <strong>{t('fleet.lost', { n: 1, names: nameOf(agent) })}</strong>
          <Facts lang="en" of={agent.drops.map(([name, n]) => [name, count(n)])} />
        </div>
      )}
      <div class="columns">
        <section>
          <h2>{t('fleet.does')}</h2>
          <Facts lang="en" of={agent.plan.filter(([, how]) => !how.startsWith('skip'))} />
          <h2>{t('fleet.cannot')}</h2>
          {skipped(agent).length === 0 ? (
            <p class="dim">–</p>
          ) : (
            <Facts lang="en" of={skipped(agent)} />
          )}
          {agent.paths_off.length > 0 && (
            <>
              <h2>{t('fleet.paths')}</h2>
              <Facts lang="en" of={agent.paths_off} />
            </>
          )}
        </section>
        <section>
          <h2>{t('edge.numbers')}</h2>
          <Facts
            lang="en"
            of={[
              [t('fleet.seen'), `${clock(agent.last_seen_ms)} (${ago(agent.last_seen_ms, now)})`],
              [t('fleet.spool'), count(agent.spool_depth)],
              [t('fleet.missing'), count(agent.batches_missing)],
              [
                t('fleet.cpu'),
                agent.cost.cpu_share === null ? '–' : share(agent.cost.cpu_share, 1),
              ],
              [
                t('fleet.memory'),
                `${bytes(agent.cost.rss_bytes)} (${bytes(agent.cost.rss_peak_bytes)})`,
              ],
              [t('fleet.clock'), `${count(agent.clock_ahead_ms)} ms`],
            ]}
          />
          {agent.facts.length > 0 && (
            <>
              <h2>{t('fleet.facts')}</h2>
              <Facts lang="en" of={agent.facts} />
            </>
          )}
        </section>
        <section>
          <h2>{t('fleet.counters')}</h2>
          <Facts lang="en" of={agent.counters.map(([name, n]) => [name, count(n)])} />
        </section>
      </div>
    </article>
  );
}

function Json({ of }: { of: unknown }) {
  return <pre class="mono">{JSON.stringify(of, null, 1)}</pre>;
}
