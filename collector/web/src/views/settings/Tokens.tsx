// Tokens with which programs ask in the name of a user.

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { ask, type Schema, tell } from '../../api/client';
import type { Person } from '../../api/session';
import { useAsk } from '../../app/ask';
import { useBeat } from '../../app/time';
import { Confirm, Failed, Once, useAct } from '../../parts/Act';
import { acting, timed } from '../../parts/columns';
import { State } from '../../parts/State';
import { type Column, Table } from '../../parts/Table';
import { Tag } from '../../parts/Tag';
import { t } from '../../text';
import { ago, clock } from '../../text/numbers';
import { ranksUpTo } from './ranks';

type Token = Schema['TokenShown'];

const LIFETIMES = ['1d', '7d', '30d', '90d', '366d'] as const;

export function Tokens({ known }: { known: Person }) {
  const all = known.role === 'admin';
  const act = useAct();
  const [made, setMade] = useState<Schema['TokenMade'] | null>(null);
  const [round, setRound] = useState(0);
  const beat = useBeat();
  const answer = useAsk('tokens', beat + round, (signal) =>
    ask('/api/v1/tokens', { query: { all }, signal }),
  );
  const changed = () => setRound((n) => n + 1);
  const revoke = async (id: string) => {
    await tell(`/api/v1/tokens/${id}`, null, 'DELETE');
    changed();
  };
  return (
    <section>
      <h2>
        {t('tokens.title')} {all && <span class="dim">{t('sessions.all')}</span>}
      </h2>
      <p class="dim">{t('tokens.help')}</p>
      {known.by === 'session' ? (
        <Add
          known={known}
          made={(token) => {
            setMade(token);
            changed();
          }}
        />
      ) : (
        <p class="notice">{t('tokens.session')}</p>
      )}
      {made && (
        <Once
          what={t('tokens.made.say', { name: made.name, ends: clock(made.expires_ms) })}
          secret={made.token}
          close={() => setMade(null)}
        />
      )}
      <Failed of={act} />
      <State of={answer} what="what.settings">
        {({ tokens }) => (
          <Table
            name="tokens"
            columns={columns(answer.at ?? Date.now(), (one) => (
              <Confirm
                act={act}
                label={t('tokens.revoke')}
                question={t('tokens.revoke.ask', { name: one.name })}
                work={() => revoke(one.id)}
              />
            ))}
            rows={tokens}
            keyOf={(one) => one.id}
            sort="user"
          />
        )}
      </State>
    </section>
  );
}

function Add({ known, made }: { known: Person; made: (token: Schema['TokenMade']) => void }) {
  const act = useAct();
  const add = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const given = new FormData(form);
    const of = (name: string) => String(given.get(name) ?? '');
    const body = { name: of('name').trim(), role: of('role'), lifetime: of('lifetime') };
    act.run(async () => {
      made(await tell<Schema['TokenMade']>('/api/v1/tokens', body));
      form.reset();
    });
  };
  return (
    <>
      <form class="tools" onSubmit={(event) => add(event as SubmitEvent)}>
        <label class="field">
          <span class="dim">{t('tokens.name')}</span>
          <input name="name" maxLength={64} required />
        </label>
        <label class="field">
          <span class="dim">{t('tokens.role')}</span>
          <select name="role">
            {ranksUpTo(known.role).map((rank) => (
              <option key={rank} value={rank}>
                {t(`rank.${rank}`)}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span class="dim">{t('tokens.lifetime')}</span>
          <select name="lifetime">
            {LIFETIMES.map((one) => (
              <option key={one} value={one} selected={one === '90d'}>
                {one}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" class="primary" disabled={act.waiting}>
          {t('tokens.add')}
        </button>
      </form>
      <Failed of={act} />
    </>
  );
}

function columns(now: number, act: (token: Token) => ComponentChildren): Column<Token>[] {
  return [
    { id: 'user', title: t('sessions.user'), value: (one) => one.user },
    { id: 'name', title: t('tokens.name'), value: (one) => one.name },
    {
      id: 'role',
      title: t('tokens.role'),
      value: (one) => one.role,
      show: (one) => t(`rank.${one.role}`),
    },
    timed('made_ms', t('tokens.made'), (one) => one.made_ms, now),
    {
      id: 'expires_ms',
      title: t('tokens.expires'),
      value: (one) => one.expires_ms,
      show: (one) => (
        <>
          {clock(one.expires_ms, now)}{' '}
          {one.expires_ms <= now && <Tag level="warn">{t('tokens.expired')}</Tag>}
        </>
      ),
    },
    {
      id: 'used_ms',
      title: t('tokens.used'),
      value: (one) => one.used_ms,
      show: (one) => (one.used_ms ? ago(one.used_ms, now) : t('time.never')),
    },
    { ...acting('revoke'), show: act },
  ];
}
