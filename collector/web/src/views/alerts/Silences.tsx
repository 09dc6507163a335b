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
import { filled, localTime, type Matcher } from './mutes';
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
  const [changed, setChanged] = useState<One | null>(null);
  const done = () => {
    setChanged(null);
    answer.again();
  };
  const end = async (id: number) => {
    await tell(`/api/v1/silences/${id}`, null, 'DELETE');
    done();
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
              columns={columns(now, may ? { act, end, change: setChanged } : null)}
              rows={silences}
              keyOf={(one) => String(one.id)}
              sort="-until_ms"
            />
          )
        }
      </State>
      {may ? (
        <Form key={changed?.id ?? 'new'} of={changed} done={done} />
      ) : (
        <p class="dim">{t('silence.may')}</p>
      )}
    </section>
  );
}

interface Ends {
  readonly act: Act;
  readonly end: (id: number) => Promise<void>;
  readonly change: (one: One) => void;
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
        <>
          <button type="button" class="plain" onClick={() => ends.change(one)}>
            {t('silence.change')}
          </button>{' '}
          <Confirm
            act={ends.act}
            label={t('silence.end')}
            question={t('silence.end.ask')}
            work={() => ends.end(one.id)}
          />
        </>
      ),
  };
  return [...all, end];
}

const FIRST: readonly Matcher[] = [{ label: 'service', value: '' }];

/** One to be made, or one that is there and is to be another one: it keeps its begin. */
function Form({ of: known, done }: { of: One | null; done: () => void }) {
  const act = useAct();
  const [matchers, setMatchers] = useState<readonly Matcher[]>(known?.matchers ?? FIRST);
  const put = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const given = new FormData(form);
    const of = (name: string) => String(given.get(name) ?? '').trim();
    const time = (name: string) => (of(name) === '' ? null : new Date(of(name)).getTime());
    // Without a begin it is now, by the collector's clock.
    const begin = known ? known.from_ms : time('from');
    const body = {
      matchers: filled(matchers),
      ...(begin !== null && { from_ms: begin }),
      until_ms: time('until') ?? (begin ?? Date.now()) + lengthOf(of('length')),
      why: of('why'),
    };
    act.run(async () => {
      if (known) await tell(`/api/v1/silences/${known.id}`, body, 'PUT');
      else await tell('/api/v1/silences', body);
      form.reset();
      setMatchers(FIRST);
      done();
    });
  };
  return (
    <details open={known !== null}>
      <summary>
        {known ? t('silence.change.title', { of: said(known.matchers) }) : t('silence.add')}
      </summary>
      <form onSubmit={(event) => put(event as SubmitEvent)}>
        <Matchers of={matchers} change={setMatchers} />
        <div class="tools">
          {known ? (
            <Time name="until" label={t('silence.until')} first={known.until_ms} />
          ) : (
            <>
              <Time name="from" label={t('silence.begins')} />
              <Lengths />
            </>
          )}
          <label class="field">
            <span class="dim">{t('silence.why')}</span>
            <input name="why" maxLength={500} required defaultValue={known?.why ?? ''} />
          </label>
          <button type="submit" class="primary" disabled={act.waiting}>
            {t(known ? 'silence.change' : 'silence.go')}
          </button>
          {known && (
            <button type="button" class="plain" onClick={done}>
              {t('act.no')}
            </button>
          )}
        </div>
        <Failed of={act} />
      </form>
    </details>
  );
}

interface TimeProps {
  readonly name: string;
  readonly label: string;
  /** What it is at first, Unix milliseconds; it must be given then. */
  readonly first?: number;
}

function Time({ name, label, first }: TimeProps) {
  const given = first === undefined ? {} : { defaultValue: localTime(first), required: true };
  return (
    <label class="field">
      <span class="dim">{label}</span>
      <input name={name} type="datetime-local" {...given} />
    </label>
  );
}
