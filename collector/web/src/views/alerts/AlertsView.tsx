// What is wrong: a sentence, troubles with what may have caused them, and alerts one by one.
import { useState } from 'preact/hooks';
import { ask, type Schema } from '../../api/client';
import { useAsk } from '../../app/ask';
import { change, link, useRoute } from '../../app/route';
import { useBeat } from '../../app/time';
import { State } from '../../parts/State';
import { t, useLanguage } from '../../text';
import { ago, clock } from '../../text/numbers';
import { AlertTable } from './AlertTable';
import { Causes } from './Causes';
import { Rules } from './Rules';
import { Silences } from './Silences';
import { levelOf, SeverityTag } from './words';

type Answer = Schema['Alerts'];

const TABS = ['now', 'resolved', 'silences', 'rules'] as const;
type Tab = (typeof TABS)[number];

export function AlertsView() {
  const { query } = useRoute();
  const tab = TABS.find((one) => one === query.tab) ?? 'now';
  return (
    <article class="view">
      <header>
        <h1>{t('nav.alerts')}</h1>
      </header>
      <nav class="tabs" aria-label={t('alerts.tabs')}>
        {TABS.map((one) => (
          <a
            key={one}
            href={link('alerts', '', { tab: one === 'now' ? '' : one })}
            {...(one === tab && { 'aria-current': 'page' as const })}
          >
            {t(`alerts.tab.${one}`)}
          </a>
        ))}
      </nav>
      <Body tab={tab} />
    </article>
  );
}

function Body({ tab }: { tab: Tab }) {
  if (tab === 'rules') return <Rules />;
  if (tab === 'silences') return <Silences />;
  return <List key={tab} resolved={tab === 'resolved'} />;
}

/** Alerts a page holds. */
const PAGE = 200;

function List({ resolved }: { resolved: boolean }) {
  const { query } = useRoute();
  const beat = useBeat();
  const language = useLanguage();
  const group = query.group ?? '';
  const asking = {
    phase: resolved ? 'resolved' : 'firing,pending',
    language,
    limit: PAGE,
    ...(group !== '' && { group }),
  };
  const question = JSON.stringify(asking);
  const answer = useAsk(question, beat, (signal) =>
    ask('/api/v1/alerts', { query: asking, signal }),
  );
  return (
    <State of={answer} what="what.alerts">
      {(found) => (
        <>
          {!resolved && group === '' && <Say found={found} />}
          {!resolved && group === '' && found.groups.length > 0 && <Groups found={found} />}
          <section>
            <h2>
              {t('alerts.one.by.one')}{' '}
              {group !== '' && (
                <span class="dim">
                  {t('alerts.of.group')}{' '}
                  <button type="button" class="plain" onClick={() => change({ group: '' }, true)}>
                    {t('alerts.of.all')}
                  </button>
                </span>
              )}
            </h2>
            <Pages key={question} first={found} asking={asking} resolved={resolved} />
          </section>
        </>
      )}
    </State>
  );
}

interface PagesProps {
  readonly first: Answer;
  readonly asking: object;
  readonly resolved: boolean;
}

/** The first page, and further ones as they are asked for. */
function Pages({ first, asking, resolved }: PagesProps) {
  const [more, setMore] = useState<readonly Schema['AlertShown'][]>([]);
  const [next, setNext] = useState<string | null>(null);
  const cursor = next ?? first.next;
  const turn = async () => {
    if (!cursor) return;
    const page = await ask('/api/v1/alerts', { query: { ...asking, cursor } });
    setMore([...more, ...page.alerts]);
    setNext(page.next ?? '');
  };
  // What came with a beat may be on a later page as well.
  const known = new Set(first.alerts.map((alert) => alert.id));
  const all = [...first.alerts, ...more.filter((alert) => !known.has(alert.id))];
  if (all.length === 0) {
    return <p class="dim">{t(resolved ? 'alerts.none.resolved' : 'alerts.none')}</p>;
  }
  return (
    <>
      <AlertTable name={resolved ? 'alerts-over' : 'alerts'} alerts={all} />
      {cursor && (
        <button type="button" class="pill" onClick={() => void turn()}>
          {t('alerts.more')}
        </button>
      )}
    </>
  );
}

/** What is wrong, before the numbers. */
function Say({ found }: { found: Answer }) {
  const { critical, warning, pending, unknown } = found.counts;
  const firing = critical + warning;
  const [worst] = found.groups;
  const level = critical > 0 ? 'bad' : warning > 0 ? 'warn' : unknown > 0 ? 'unknown' : 'ok';
  return (
    <div class={`say ${found.at_ms === 0 ? 'unknown' : level}`}>
      <p>
        {found.at_ms === 0 ? (
          t('alerts.say.never')
        ) : (
          <strong>
            {firing === 0 ? t('alerts.say.none') : t('alerts.say.firing', { n: firing, critical })}
          </strong>
        )}{' '}
        {worst?.lead && <a href={link('alerts', worst.lead)}>{worst.headline}</a>}
        {worst && !worst.lead && worst.headline}
      </p>
      <p class="dim">
        {found.groups.length > 0 && t('alerts.say.groups', { n: found.groups.length })}{' '}
        {pending > 0 && t('alerts.say.pending', { n: pending })}{' '}
        {unknown > 0 && t('alerts.say.unknown', { n: unknown })}{' '}
        {found.at_ms > 0 && t('alerts.say.at', { at: clock(found.at_ms) })}
      </p>
    </div>
  );
}

function Groups({ found }: { found: Answer }) {
  return (
    <section>
      <h2>{t('alerts.groups')}</h2>
      <ul class="list cards">
        {found.groups.map((group) => (
          <li key={group.id} class={`trouble ${levelOf(group.severity)}`}>
            <Group of={group} />
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Alerts that are one trouble. */
export function Group({ of, open = false }: { of: Schema['GroupShown']; open?: boolean }) {
  const now = Date.now();
  return (
    <>
      <p>
        <SeverityTag of={of.severity} />{' '}
        <strong>
          {of.lead ? <a href={link('alerts', of.lead)}>{of.headline}</a> : of.headline}
        </strong>
      </p>
      <p class="dim">
        {t('group.since', { at: clock(of.since_ms), ago: ago(of.since_ms, now) })} ·{' '}
        <a href={link('alerts', '', { group: of.id })}>{t('group.count', { n: of.count })}</a>
        {!of.proven && ` · ${t('group.unproven')}`}
        {of.low_confidence && ` · ${t('group.low')}`}
      </p>
      <Causes of={of.candidates} open={open} />
    </>
  );
}
