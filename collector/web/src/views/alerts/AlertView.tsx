// One alert: what it is, beside what is usual, what it means, what may have caused it, what became
// of it, and what a person does about it.

import { useState } from 'preact/hooks';
import { ask, type Schema } from '../../api/client';
import { useAsk } from '../../app/ask';
import { link } from '../../app/route';
import { useBeat } from '../../app/time';
import { timed } from '../../parts/columns';
import { Facts } from '../../parts/Facts';
import { Empty, State } from '../../parts/State';
import { type Column, Table } from '../../parts/Table';
import { t, useLanguage } from '../../text';
import { ago, clock, short } from '../../text/numbers';
import { Group } from './AlertsView';
import { Acknowledge, Silence } from './Do';
import { found, levelOf, Notes, SeverityTag, sinceOf, valueSay } from './words';

type Detail = Schema['AlertDetail'];
type Became = Schema['TransitionShown'];

export function AlertView({ id }: { id: string }) {
  const beat = useBeat();
  const language = useLanguage();
  const [round, setRound] = useState(0);
  const answer = useAsk(JSON.stringify([id, language]), beat + round, (signal) =>
    ask('/api/v1/alerts/{id}', { path: { id }, query: { language }, signal }),
  );
  if (answer.failed?.status === 404) return <Empty what="alert.gone" />;
  return (
    <State of={answer} what="what.alerts">
      {(detail) => <One detail={detail} changed={() => setRound((n) => n + 1)} />}
    </State>
  );
}

function One({ detail, changed }: { detail: Detail; changed: () => void }) {
  const { alert } = detail;
  return (
    <article class="view">
      <header>
        <h1>{alert.summary}</h1>
        <p>
          <SeverityTag of={alert.severity} /> {t(`phase.${alert.phase}`)} <Notes of={alert} />
        </p>
      </header>
      <Say alert={alert} />
      <div class="columns">
        <section>
          <h2>{t('alert.meaning')}</h2>
          <p>{detail.meaning || t('alert.no.rule')}</p>
          {detail.likely_causes.length > 0 && (
            <>
              <h2>{t('alert.causes')}</h2>
              <ul class="points">
                {detail.likely_causes.map((cause) => (
                  <li key={cause}>{cause}</li>
                ))}
              </ul>
            </>
          )}
          {detail.next_step !== '' && (
            <>
              <h2>{t('alert.next')}</h2>
              <p>{detail.next_step}</p>
            </>
          )}
          <h2>{t('alert.where')}</h2>
          <Where of={alert.subject} />
        </section>
        <section>
          <Numbers alert={alert} />
        </section>
        <section>
          <Acknowledge alert={alert} changed={changed} />
          {alert.phase !== 'resolved' && <Silence alert={alert} changed={changed} />}
        </section>
      </div>
      {detail.group && (
        <section>
          <h2>{t('group.causes')}</h2>
          <Group of={detail.group} open />
        </section>
      )}
      <section>
        <h2>{t('alert.history')}</h2>
        <History of={detail.history} unit={alert.unit} />
      </section>
    </article>
  );
}

function Say({ alert }: { alert: Schema['AlertShown'] }) {
  const since = sinceOf(alert);
  const over = alert.resolved_ms !== null && alert.phase === 'resolved';
  return (
    <div class={`say ${over ? 'ok' : levelOf(alert.severity)}`}>
      <p>
        <strong>{valueSay(alert)}</strong>{' '}
        {t('alert.say.since', { at: clock(since), ago: ago(since, Date.now()) })}{' '}
        {over && alert.resolved_ms && t('alert.say.over', { at: clock(alert.resolved_ms) })}
      </p>
      {alert.unknown_since_ms !== null && (
        <p lang="en">
          {t('alert.unknown.why', {
            at: clock(alert.unknown_since_ms),
            why: alert.unknown_why ?? '',
          })}
        </p>
      )}
    </div>
  );
}

function Numbers({ alert }: { alert: Schema['AlertShown'] }) {
  const numbers = Object.entries(alert.numbers);
  const kinds = alert.evidence.map((kind) => t(`evidence.${kind}`)).join(', ');
  return (
    <>
      <h2>{t('alert.numbers')}</h2>
      <Facts
        of={[
          [t('alert.value'), found(alert.value, alert.unit)],
          [
            t('alert.usual'),
            alert.usual
              ? `${found(alert.usual.median, alert.unit)} ± ${found(alert.usual.spread, alert.unit)}`
              : '–',
          ],
          ...numbers.map(([name, value]) => [name.replaceAll('_', ' '), short(value)] as const),
        ]}
      />
      <h2>{t('alert.how')}</h2>
      <p class="dim">
        {[
          `${t('alert.rule')} ${alert.rule}`,
          kinds,
          alert.confidence === null ? '' : t('edge.confidence', { n: alert.confidence }),
          alert.through.length > 0 ? t('alert.through', { list: alert.through.join(', ') }) : '',
        ]
          .filter((part) => part !== '')
          .join(' · ')}
      </p>
    </>
  );
}

/** What it is about, and where that is on the map. */
function Where({ of }: { of: Schema['Subject'] }) {
  switch (of.kind) {
    case 'edge':
      return (
        <p>
          <a href={link('node', of.client.name)}>{of.client.name}</a> →{' '}
          <a href={link('node', of.server.name)}>{of.server.name}</a>{' '}
          <span class="mono dim">{of.endpoint}</span> ·{' '}
          <a href={link('map', '', { focus: of.server.name, depth: '1' })}>{t('alert.on.map')}</a>
        </p>
      );
    case 'node':
      return (
        <p>
          <a href={link('node', of.node.name)}>{of.node.name}</a> ·{' '}
          <a href={link('map', '', { focus: of.node.name })}>{t('alert.on.map')}</a>
        </p>
      );
    case 'host':
    case 'series':
      return (
        <p>
          <a href={link('host', of.host)}>{of.name || of.host}</a>{' '}
          {of.kind === 'series' && (
            <>
              <a href={link('data', of.table)}>{of.table.replaceAll('_', ' ')}</a>{' '}
              <span class="dim">
                {Object.entries(of.labels)
                  .map(([name, value]) => `${name}=${value}`)
                  .join(', ')}
              </span>
            </>
          )}
        </p>
      );
    case 'gateway':
      return (
        <p>
          {of.host ? <a href={link('host', of.host)}>{of.address}</a> : of.address} ·{' '}
          <a href={link('map', '', { wrong: '1' })}>{t('alert.on.map')}</a>
        </p>
      );
    case 'flow':
      return (
        <p>
          {of.source} → {of.destination} <span class="mono dim">{of.port}</span>{' '}
          <span class="dim">{of.owner}</span> · <a href={link('matrix')}>{t('nav.matrix')}</a>
        </p>
      );
    default:
      return (
        <p>
          <a href={link('fleet')}>{t('nav.fleet')}</a>
        </p>
      );
  }
}

function History({ of, unit }: { of: readonly Became[]; unit: string }) {
  const columns: Column<Became>[] = [
    timed('at_ms', t('alert.history.at'), (one) => one.at_ms),
    {
      id: 'what',
      title: t('alert.history.what'),
      value: (one) => one.what,
      show: (one) => t(`what.became.${one.what}`),
    },
    {
      id: 'severity',
      title: t('alert.severity'),
      value: (one) => one.severity,
      show: (one) => <SeverityTag of={one.severity} />,
    },
    {
      id: 'value',
      title: t('alert.value'),
      value: (one) => one.value,
      show: (one) => found(one.value, unit),
      number: true,
    },
    { id: 'why', title: t('alert.history.why'), value: (one) => one.why },
  ];
  return (
    <Table
      name="alert-history"
      columns={columns}
      rows={of}
      keyOf={(one) => `${one.at_ms} ${one.what}`}
    />
  );
}
