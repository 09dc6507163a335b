// What is not to be told for a while.

import { useState } from 'preact/hooks';
import { ask, type Schema, tell } from '../../api/client';
import { useAsk } from '../../app/ask';
import { useOperates } from '../../app/may';
import { lengthOf, useBeat } from '../../app/time';
import { type Act, Confirm, Failed, useAct } from '../../parts/Act';
import { acting, timed } from '../../parts/columns';
import { State } from '../../parts/State';
import { type Column, Table } from '../../parts/Table';
import { Tag } from '../../parts/Tag';
import { t } from '../../text';
import { clock } from '../../text/numbers';
import { Lengths } from './Do';
import { Matchers, said } from './Matchers';
import { filled, type Matcher } from './mutes';
import { Windows } from './Windows';

type One = Schema['Silence'];

/** Silences, and times of every week. */
export function Silences() {
  return (
    <>
      <Once />
      <Windows />
    </>
  );
}

function Once() {
  const act = useAct();
  const beat = useBeat();
  const may = useOperates();
  const answer = useAsk('silences', beat, (signal) => ask('/api/v1/silences', { signal }));
  const now = answer.at ?? Date.now();
  const end = async (id: number) => {
    await tell(`/api/v1/silences/${id}`, null, 'DELETE');
    answer.again();
  };
  return (
    <section>
      <h2>{t('alerts.tab.silences')}</h2>
      <Failed of={act} />
      <State of={answer} what="what.alerts">
        {({ silences }) =>
          silences.length === 0 ? (
            <p class="dim">{t('silence.none')}</p>
          ) : (
            <Table
              name="silences"
              columns={columns(now, may ? { act, end } : null)}
              rows={silences}
              keyOf={(one) => String(one.id)}
              sort="-until_ms"
            />
          )
        }
      </State>
      {may ? <Add made={answer.again} /> : <p class="dim">{t('silence.may')}</p>}
    </section>
  );
}

interface Ends {
  readonly act: Act;
  readonly end: (id: number) => Promise<void>;
}

function columns(now: number, ends: Ends | null): Column<One>[] {
  const all: Column<One>[] = [
    { id: 'matchers', title: t('silence.matchers'), value: (one) => said(one.matchers) },
    timed('from_ms', t('silence.from'), (one) => one.from_ms, now),
    {
      id: 'until_ms',
      title: t('silence.until'),
      value: (one) => one.until_ms,
      show: (one) => (
        <>
          {clock(one.until_ms, now)} {one.until_ms <= now && <Tag>{t('silence.over')}</Tag>}
          {one.from_ms > now && <Tag>{t('silence.later')}</Tag>}
        </>
      ),
    },
    { id: 'why', title: t('silence.why'), value: (one) => one.why },
    { id: 'who', title: t('silence.who'), value: (one) => one.who },
  ];
  if (!ends) return all;
  const end: Column<One> = {
    ...acting('end'),
    show: (one) =>
      one.until_ms > now && (
        <Confirm
          act={ends.act}
          label={t('silence.end')}
          question={t('silence.end.ask')}
          work={() => ends.end(one.id)}
        />
      ),
  };
  return [...all, end];
}

const FIRST: readonly Matcher[] = [{ label: 'service', value: '' }];

function Add({ made }: { made: () => void }) {
  const act = useAct();
  const [matchers, setMatchers] = useState(FIRST);
  const add = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const given = new FormData(form);
    const of = (name: string) => String(given.get(name) ?? '').trim();
    // Without a begin it is now, by the collector's clock.
    const begin = of('from') === '' ? null : new Date(of('from')).getTime();
    const body = {
      matchers: filled(matchers),
      ...(begin !== null && { from_ms: begin }),
      until_ms: (begin ?? Date.now()) + lengthOf(of('length')),
      why: of('why'),
    };
    act.run(async () => {
      await tell('/api/v1/silences', body);
      form.reset();
      setMatchers(FIRST);
      made();
    });
  };
  return (
    <details>
      <summary>{t('silence.add')}</summary>
      <form onSubmit={(event) => add(event as SubmitEvent)}>
        <Matchers of={matchers} change={setMatchers} />
        <div class="tools">
          <label class="field">
            <span class="dim">{t('silence.begins')}</span>
            <input name="from" type="datetime-local" />
          </label>
          <Lengths />
          <label class="field">
            <span class="dim">{t('silence.why')}</span>
            <input name="why" maxLength={500} required />
          </label>
          <button type="submit" class="primary" disabled={act.waiting}>
            {t('silence.go')}
          </button>
        </div>
        <Failed of={act} />
      </form>
    </details>
  );
}
