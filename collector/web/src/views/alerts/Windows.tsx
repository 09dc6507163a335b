// Maintenance windows: times of every week in which alerts are not told.

import { useState } from 'preact/hooks';
import { ask, type Schema, tell } from '../../api/client';
import { useAsk } from '../../app/ask';
import { useOperates } from '../../app/may';
import { useBeat } from '../../app/time';
import { type Act, Confirm, Failed, useAct } from '../../parts/Act';
import { acting } from '../../parts/columns';
import { State } from '../../parts/State';
import { type Column, Table } from '../../parts/Table';
import { locale, t } from '../../text';
import { span } from '../../text/numbers';
import { Matchers, said } from './Matchers';
import {
  DAYS,
  type Day,
  filled,
  type Matcher,
  minuteOf,
  offsetSay,
  offsets,
  timeOf,
} from './mutes';

type Window = Schema['Maintenance'];

export function Windows() {
  const act = useAct();
  const beat = useBeat();
  const may = useOperates();
  const answer = useAsk('maintenance', beat, (signal) => ask('/api/v1/maintenance', { signal }));
  const [changed, setChanged] = useState<Window | null>(null);
  const done = () => {
    setChanged(null);
    answer.again();
  };
  const end = async (id: number) => {
    await tell(`/api/v1/maintenance/${id}`, null, 'DELETE');
    done();
  };
  return (
    <section>
      <h2>{t('maintenance.title')}</h2>
      <Failed of={act} />
      <State of={answer} what="what.alerts">
        {({ windows }) =>
          windows.length === 0 ? (
            <p class="dim">{t('maintenance.none')}</p>
          ) : (
            <Table
              name="maintenance"
              columns={columns(may ? { act, end, change: setChanged } : null)}
              rows={windows}
              keyOf={(one) => String(one.id)}
              sort="name"
            />
          )
        }
      </State>
      {may && <Form key={changed?.id ?? 'new'} of={changed} done={done} />}
    </section>
  );
}

interface Ends {
  readonly act: Act;
  readonly end: (id: number) => Promise<void>;
  readonly change: (one: Window) => void;
}

function columns(ends: Ends | null): Column<Window>[] {
  const all: Column<Window>[] = [
    { id: 'name', title: t('maintenance.name'), value: (one) => one.window.name },
    {
      id: 'matchers',
      title: t('silence.matchers'),
      value: (one) => said(one.window.matchers),
    },
    { id: 'when', title: t('maintenance.when'), value: (one) => whenOf(one.window) },
    {
      id: 'minutes',
      title: t('maintenance.lasts'),
      value: (one) => one.window.minutes,
      show: (one) => lastsSay(one.window.minutes),
    },
    { id: 'who', title: t('silence.who'), value: (one) => one.who },
  ];
  if (!ends) return all;
  const end: Column<Window> = {
    ...acting('end'),
    show: (one) => (
      <>
        <button type="button" class="plain" onClick={() => ends.change(one)}>
          {t('silence.change')}
        </button>{' '}
        <Confirm
          act={ends.act}
          label={t('silence.end')}
          question={t('maintenance.end.ask', { name: one.window.name })}
          work={() => ends.end(one.id)}
        />
      </>
    ),
  };
  return [...all, end];
}

/** Whole hours as hours; what is no whole number of them in minutes. */
function lastsSay(minutes: number): string {
  if (minutes % 60 === 0) return span(minutes * 60_000);
  const options = { style: 'unit', unit: 'minute', unitDisplay: 'short' } as const;
  return minutes.toLocaleString(locale(), options);
}

function dayName(day: Day): string {
  // 1 January 2024 was a Monday.
  const date = new Date(Date.UTC(2024, 0, 1 + DAYS.indexOf(day)));
  return date.toLocaleDateString(locale(), { weekday: 'short', timeZone: 'UTC' });
}

/** Days and time, as the person's language has them. */
function whenOf({ days, at_minute: minute, utc_offset_minutes: offset = 0 }: Window['window']) {
  return `${days.map(dayName).join(', ')} ${timeOf(minute)} ${offsetSay(offset)}`;
}

const FIRST: readonly Matcher[] = [{ label: 'host', value: '' }];

/** One to be made, or one that is there and is to be another one. */
function Form({ of: known, done }: { of: Window | null; done: () => void }) {
  const act = useAct();
  const was = known?.window;
  const [matchers, setMatchers] = useState<readonly Matcher[]>(was?.matchers ?? FIRST);
  const own = was ? (was.utc_offset_minutes ?? 0) : -new Date().getTimezoneOffset();
  const put = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const given = new FormData(form);
    const of = (name: string) => String(given.get(name) ?? '').trim();
    const body = {
      name: of('name'),
      matchers: filled(matchers),
      days: given.getAll('day'),
      at_minute: minuteOf(of('at')) ?? 0,
      minutes: Number(of('minutes')),
      utc_offset_minutes: Number(of('offset')),
    };
    act.run(async () => {
      if (known) await tell(`/api/v1/maintenance/${known.id}`, body, 'PUT');
      else await tell('/api/v1/maintenance', body);
      form.reset();
      setMatchers(FIRST);
      done();
    });
  };
  return (
    <details open={known !== null}>
      <summary>{was ? t('maintenance.change', { name: was.name }) : t('maintenance.add')}</summary>
      <form onSubmit={(event) => put(event as SubmitEvent)}>
        <label class="field">
          <span class="dim">{t('maintenance.name')}</span>
          <input name="name" maxLength={500} required defaultValue={was?.name ?? ''} />
        </label>
        <Matchers of={matchers} change={setMatchers} />
        <fieldset class="tools">
          <legend class="dim">{t('maintenance.days')}</legend>
          {DAYS.map((day) => (
            <label key={day} class="pill">
              <input
                type="checkbox"
                name="day"
                value={day}
                defaultChecked={was?.days.includes(day) ?? false}
              />{' '}
              {dayName(day)}
            </label>
          ))}
        </fieldset>
        <div class="tools">
          <label class="field short">
            <span class="dim">{t('maintenance.at')}</span>
            <input name="at" type="time" required defaultValue={timeOf(was?.at_minute ?? 120)} />
          </label>
          <label class="field short">
            <span class="dim">{t('maintenance.zone')}</span>
            <select name="offset">
              {offsets(own).map((one) => (
                <option key={one} value={one} selected={one === own}>
                  {offsetSay(one)}
                </option>
              ))}
            </select>
          </label>
          <label class="field short">
            <span class="dim">{t('maintenance.minutes')}</span>
            <input
              name="minutes"
              type="number"
              min={1}
              max={10_080}
              required
              defaultValue={String(was?.minutes ?? 60)}
            />
          </label>
          <button type="submit" class="primary" disabled={act.waiting}>
            {t(known ? 'silence.change' : 'maintenance.go')}
          </button>
          {known && (
            <button type="button" class="plain" onClick={done}>
              {t('act.no')}
            </button>
          )}
        </div>
        <p class="dim">{t('maintenance.help')}</p>
        <Failed of={act} />
      </form>
    </details>
  );
}
