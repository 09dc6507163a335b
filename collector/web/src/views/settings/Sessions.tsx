// Who is logged in, and where.

import { useState } from 'preact/hooks';
import { ask, type Schema, tell } from '../../api/client';
import type { Person } from '../../api/session';
import { useAsk } from '../../app/ask';
import { useBeat } from '../../app/time';
import { Confirm, Failed, useAct } from '../../parts/Act';
import { acting, timed } from '../../parts/columns';
import { State } from '../../parts/State';
import { type Column, Table } from '../../parts/Table';
import { Tag } from '../../parts/Tag';
import { t } from '../../text';
import { ago, clock } from '../../text/numbers';

type Session = Schema['SessionShown'];

export function Sessions({ known }: { known: Person }) {
  const all = known.role === 'admin';
  const act = useAct();
  const [round, setRound] = useState(0);
  const beat = useBeat();
  const answer = useAsk('sessions', beat + round, (signal) =>
    ask('/api/v1/sessions', { query: { all }, signal }),
  );
  const end = async (id: string) => {
    await tell(`/api/v1/sessions/${id}`, null, 'DELETE');
    setRound(round + 1);
  };
  const now = answer.at ?? Date.now();
  const columns: Column<Session>[] = [
    {
      id: 'user',
      title: t('sessions.user'),
      value: (one) => one.user,
      show: (one) => (
        <>
          {one.user} {one.is_this && <Tag level="ok">{t('sessions.this')}</Tag>}
        </>
      ),
    },
    timed('begun_ms', t('sessions.begun'), (one) => one.begun_ms, now),
    {
      id: 'used_ms',
      title: t('sessions.used'),
      value: (one) => one.used_ms,
      show: (one) => ago(one.used_ms, now),
    },
    {
      id: 'idle_ends_ms',
      title: t('sessions.ends'),
      value: (one) => Math.min(one.idle_ends_ms, one.expires_ms),
      show: (one) => clock(Math.min(one.idle_ends_ms, one.expires_ms), now),
    },
    { id: 'source', title: t('sessions.source'), value: (one) => one.source },
    {
      id: 'begun_by',
      title: t('sessions.how'),
      value: (one) => one.begun_by,
      show: (one) => t(one.begun_by === 'link' ? 'sessions.by.link' : 'sessions.by.password'),
    },
    {
      ...acting('end'),
      show: (one) => (
        <Confirm
          act={act}
          label={t('sessions.end')}
          question={t('sessions.end.ask', { user: one.user })}
          work={() => end(one.id)}
        />
      ),
    },
  ];
  return (
    <section>
      <h2>
        {t('sessions.title')} {all && <span class="dim">{t('sessions.all')}</span>}
      </h2>
      <Failed of={act} />
      <State of={answer} what="what.settings">
        {({ sessions }) => (
          <Table
            name="sessions"
            columns={columns}
            rows={sessions}
            keyOf={(one) => one.id}
            sort="-used_ms"
          />
        )}
      </State>
    </section>
  );
}
