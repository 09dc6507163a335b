// Tokens with which hosts get their first certificate.

import { useState } from 'preact/hooks';
import { ask, type Schema, tell } from '../../api/client';
import type { Person } from '../../api/session';
import { useAsk } from '../../app/ask';
import { useBeat } from '../../app/time';
import { Confirm, Failed, Once, useAct } from '../../parts/Act';
import { acting, timed } from '../../parts/columns';
import { State } from '../../parts/State';
import { type Column, Table } from '../../parts/Table';
import { t } from '../../text';
import { clock } from '../../text/numbers';

type Invited = Schema['InvitedShown'];
type Made = Schema['Invited'];

const LIFETIMES = ['1h', '12h', '1d', '7d', '30d'] as const;

export function Enrolment({ known }: { known: Person }) {
  if (known.role !== 'admin') {
    return <p class="notice">{t('enrol.only', { role: t(`rank.${known.role}`) })}</p>;
  }
  return <All />;
}

function All() {
  const act = useAct();
  const [made, setMade] = useState<Made | null>(null);
  const [round, setRound] = useState(0);
  const beat = useBeat();
  const answer = useAsk('enrolments', beat + round, (signal) =>
    ask('/api/v1/enrolments', { signal }),
  );
  const changed = () => setRound((n) => n + 1);
  const withdraw = async (id: string) => {
    await tell(`/api/v1/enrolments/${id}`, null, 'DELETE');
    changed();
  };
  const columns: Column<Invited>[] = [
    { id: 'name', title: t('enrol.name'), value: (one) => one.name },
    { id: 'uses_left', title: t('enrol.uses'), value: (one) => one.uses_left, number: true },
    timed('made_ms', t('tokens.made'), (one) => one.made_ms),
    timed('expires_ms', t('tokens.expires'), (one) => one.expires_ms),
    { id: 'actor', title: t('enrol.who'), value: (one) => one.actor },
    {
      ...acting('withdraw'),
      show: (one) => (
        <Confirm
          act={act}
          label={t('enrol.withdraw')}
          question={t('enrol.withdraw.ask', { name: one.name })}
          work={() => withdraw(one.id)}
        />
      ),
    },
  ];
  return (
    <State of={answer} what="what.settings">
      {({ is_open, invited }) => (
        <>
          {is_open ? (
            <>
              <p>{t('enrol.say')}</p>
              <Add
                made={(token) => {
                  setMade(token);
                  changed();
                }}
              />
            </>
          ) : (
            <p class="notice">{t('enrol.closed')}</p>
          )}
          {made && (
            <Once
              what={t('enrol.made', { name: made.name, ends: clock(made.expires_ms) })}
              secret={made.token}
              close={() => setMade(null)}
            />
          )}
          <Failed of={act} />
          {invited.length === 0 ? (
            <p class="dim">{t('enrol.none')}</p>
          ) : (
            <Table
              name="enrolments"
              columns={columns}
              rows={invited}
              keyOf={(one) => one.id}
              sort="expires_ms"
            />
          )}
        </>
      )}
    </State>
  );
}

function Add({ made }: { made: (token: Made) => void }) {
  const act = useAct();
  const add = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const given = new FormData(form);
    const of = (name: string) => String(given.get(name) ?? '');
    const body = { name: of('name').trim(), uses: Number(of('uses')), lifetime: of('lifetime') };
    act.run(async () => {
      made(await tell<Made>('/api/v1/enrolments', body));
      form.reset();
    });
  };
  return (
    <>
      <form class="tools" onSubmit={(event) => add(event as SubmitEvent)}>
        <label class="field">
          <span class="dim">{t('enrol.name')}</span>
          <input name="name" autoComplete="off" maxLength={253} required />
        </label>
        <label class="field short">
          <span class="dim">{t('enrol.uses.field')}</span>
          <input name="uses" type="number" min={1} max={1000} defaultValue="1" required />
        </label>
        <label class="field">
          <span class="dim">{t('tokens.lifetime')}</span>
          <select name="lifetime">
            {LIFETIMES.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" class="primary" disabled={act.waiting}>
          {t('enrol.add')}
        </button>
      </form>
      <Failed of={act} />
    </>
  );
}
