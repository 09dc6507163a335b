// What is not to be told: silences and maintenance windows.
import { useState } from 'preact/hooks';
import { ask, type Schema, tell } from '../../api/client';
import { person } from '../../api/session';
import { useAsk } from '../../app/ask';
import { useStore } from '../../app/store';
import { useBeat } from '../../app/time';
import { Confirm, Failed, useAct } from '../../parts/Act';
import { State } from '../../parts/State';
import { type Column, Table } from '../../parts/Table';
import { Tag } from '../../parts/Tag';
import { locale, t } from '../../text';
import { clock, span } from '../../text/numbers';

type One = Schema['Silence'];
type Window = Schema['Maintenance'];

function said(matchers: readonly Schema['Matcher'][]): string {
  const one = ({ label, value, not }: Schema['Matcher']) =>
    not ? `${label} ${t('silence.not')} ${value}` : `${label} ${value}`;
  return matchers.map(one).join(', ');
}

export function Silences() {
  const act = useAct();
  const [round, setRound] = useState(0);
  const beat = useBeat();
  const role = useStore(person)?.role;
  const may = role === 'operator' || role === 'admin';
  const answer = useAsk('silences', beat + round, async (signal) => {
    const [{ silences }, { windows }] = await Promise.all([
      ask('/api/v1/silences', { signal }),
      ask('/api/v1/maintenance', { signal }),
    ]);
    return { silences, windows };
  });
  const now = answer.at ?? Date.now();
  const end = async (id: number) => {
    await tell(`/api/v1/silences/${id}`, null, 'DELETE');
    setRound(round + 1);
  };
  const columns: Column<One>[] = [
    { id: 'matchers', title: t('silence.matchers'), value: (one) => said(one.matchers) },
    {
      id: 'from_ms',
      title: t('silence.from'),
      value: (one) => one.from_ms,
      show: (one) => clock(one.from_ms, now),
    },
    {
      id: 'until_ms',
      title: t('silence.until'),
      value: (one) => one.until_ms,
      show: (one) => (
        <>
          {clock(one.until_ms, now)} {one.until_ms <= now && <Tag>{t('silence.over')}</Tag>}
        </>
      ),
    },
    { id: 'why', title: t('silence.why'), value: (one) => one.why },
    { id: 'who', title: t('silence.who'), value: (one) => one.who },
    ...(may
      ? [
          {
            id: 'end',
            title: t('table.acts'),
            value: () => null,
            acts: true,
            show: (one: One) =>
              one.until_ms > now && (
                <Confirm
                  act={act}
                  label={t('silence.end')}
                  question={t('silence.end.ask')}
                  work={() => end(one.id)}
                />
              ),
          },
        ]
      : []),
  ];
  return (
    <State of={answer} what="what.alerts">
      {({ silences, windows }) => (
        <>
          <Failed of={act} />
          {silences.length === 0 ? (
            <p class="dim">{t('alerts.none')}</p>
          ) : (
            <Table
              name="silences"
              columns={columns}
              rows={silences}
              keyOf={(one) => String(one.id)}
              sort="-until_ms"
            />
          )}
          <section>
            <h2>{t('maintenance.title')}</h2>
            {windows.length === 0 ? (
              <p class="dim">{t('alerts.none')}</p>
            ) : (
              <Windows windows={windows} />
            )}
          </section>
        </>
      )}
    </State>
  );
}

function Windows({ windows }: { windows: readonly Window[] }) {
  const columns: Column<Window>[] = [
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
      show: (one) => span(one.window.minutes * 60_000),
    },
    { id: 'who', title: t('silence.who'), value: (one) => one.who },
  ];
  return (
    <Table
      name="maintenance"
      columns={columns}
      rows={windows}
      keyOf={(one) => String(one.id)}
      sort="name"
    />
  );
}

const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];

/** Days and time, as the person's language has them. */
function whenOf({ days, at_minute: minute, utc_offset_minutes: offset = 0 }: Window['window']) {
  // 1 January 2024 was a Monday.
  const name = (day: string) =>
    new Date(Date.UTC(2024, 0, 1 + DAYS.indexOf(day))).toLocaleDateString(locale(), {
      weekday: 'short',
      timeZone: 'UTC',
    });
  const two = (n: number) => String(n).padStart(2, '0');
  const zone = `UTC${offset < 0 ? '−' : '+'}${Math.floor(Math.abs(offset) / 60)}:${two(Math.abs(offset) % 60)}`;
  const at = `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
  return `${days.map(name).join(', ')} ${at} ${zone}`;
}
