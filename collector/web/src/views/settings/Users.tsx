// Local users: who there is, with which role, and what admins change of them.

import { useState } from 'preact/hooks';
import { ask, type Schema, tell } from '../../api/client';
import type { Person } from '../../api/session';
import { useAsk } from '../../app/ask';
import { useBeat } from '../../app/time';
import { type Act, Confirm, Failed, Once, useAct } from '../../parts/Act';
import { acting } from '../../parts/columns';
import { State } from '../../parts/State';
import { type Column, Table } from '../../parts/Table';
import { Tag } from '../../parts/Tag';
import { t } from '../../text';
import { ago, clock } from '../../text/numbers';
import { RANKS } from './ranks';

type User = Schema['UserShown'];
type Changed = Schema['UserChanged'];

export function Users({ known }: { known: Person }) {
  if (known.role !== 'admin') {
    return <p class="notice">{t('users.only', { role: t(`rank.${known.role}`) })}</p>;
  }
  return <All known={known} />;
}

function All({ known }: { known: Person }) {
  const act = useAct();
  const [made, setMade] = useState<Changed | null>(null);
  const [round, setRound] = useState(0);
  const beat = useBeat();
  const answer = useAsk('users', beat + round, (signal) => ask('/api/v1/users', { signal }));
  const changed = (user: Changed) => {
    if (user.password) setMade(user);
    setRound((n) => n + 1);
  };
  const change = async (name: string, to: object) =>
    changed(await tell<Changed>(`/api/v1/users/${encodeURIComponent(name)}`, to, 'PATCH'));
  const remove = async (name: string) => {
    await tell(`/api/v1/users/${encodeURIComponent(name)}`, null, 'DELETE');
    setRound((n) => n + 1);
  };
  const oneself = (user: User) => known.is_user && user.name === known.name;
  const does: Does = { act, change, remove, oneself };
  return (
    <>
      <Add changed={changed} />
      {made?.password && (
        <Once
          what={t('users.password', { name: made.name })}
          secret={made.password}
          close={() => setMade(null)}
        />
      )}
      <Failed of={act} />
      <State of={answer} what="what.users">
        {({ users }) => (
          <Table
            name="users"
            columns={columns(answer.at ?? Date.now(), does)}
            rows={users}
            keyOf={(user) => user.name}
            sort="name"
          />
        )}
      </State>
    </>
  );
}

function Add({ changed }: { changed: (user: Changed) => void }) {
  const act = useAct();
  const add = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const given = new FormData(form);
    const body = { name: String(given.get('name') ?? '').trim(), role: String(given.get('role')) };
    act.run(async () => {
      changed(await tell<Changed>('/api/v1/users', body));
      form.reset();
    });
  };
  return (
    <>
      <form class="tools" onSubmit={(event) => add(event as SubmitEvent)}>
        <label class="field">
          <span class="dim">{t('users.name')}</span>
          <input name="name" autoComplete="off" maxLength={128} required />
        </label>
        <label class="field">
          <span class="dim">{t('users.role')}</span>
          <select name="role">
            {RANKS.map((rank) => (
              <option key={rank} value={rank}>
                {t(`role.${rank}`)}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" class="primary" disabled={act.waiting}>
          {t('users.add')}
        </button>
      </form>
      <Failed of={act} />
    </>
  );
}

interface Does {
  readonly act: Act;
  readonly change: (name: string, to: object) => Promise<void>;
  readonly remove: (name: string) => Promise<void>;
  readonly oneself: (user: User) => boolean;
}

function columns(now: number, does: Does): Column<User>[] {
  return [
    { id: 'name', title: t('users.name'), value: (user) => user.name },
    {
      id: 'role',
      title: t('users.role'),
      value: (user) => user.role,
      show: (user) => <Role user={user} does={does} />,
    },
    {
      id: 'state',
      title: t('users.state'),
      value: (user) => (user.is_disabled ? 'disabled' : 'active'),
      show: (user) => (
        <Tag level={user.is_disabled ? 'warn' : 'ok'}>
          {t(user.is_disabled ? 'users.disabled' : 'users.active')}
        </Tag>
      ),
    },
    {
      id: 'login_ms',
      title: t('users.login'),
      value: (user) => user.login_ms,
      show: (user) =>
        user.login_ms ? (
          <span title={clock(user.login_ms, now)}>{ago(user.login_ms, now)}</span>
        ) : (
          t('time.never')
        ),
    },
    { id: 'sessions', title: t('users.sessions'), value: (user) => user.sessions, number: true },
    { id: 'tokens', title: t('users.tokens'), value: (user) => user.tokens, number: true },
    {
      ...acting('do'),
      show: (user) => <Do user={user} does={does} />,
    },
  ];
}

function Role({ user, does }: { user: User; does: Does }) {
  if (does.oneself(user)) return <>{t(`rank.${user.role}`)}</>;
  return (
    <select
      class="plain"
      aria-label={t('users.role.of', { name: user.name })}
      value={user.role}
      disabled={does.act.waiting}
      onChange={(event) => {
        const role = event.currentTarget.value;
        does.act.run(() => does.change(user.name, { role }));
      }}
    >
      {RANKS.map((rank) => (
        <option key={rank} value={rank}>
          {t(`rank.${rank}`)}
        </option>
      ))}
    </select>
  );
}

function Do({ user, does }: { user: User; does: Does }) {
  const { name } = user;
  if (does.oneself(user)) return <span class="dim">{t('users.oneself')}</span>;
  return (
    <span class="acts">
      <Confirm
        act={does.act}
        label={t('users.reset')}
        question={t('users.reset.ask', { name })}
        work={() => does.change(name, { make_password: true })}
      />
      {user.is_disabled ? (
        <button
          type="button"
          class="plain"
          onClick={() => does.act.run(() => does.change(name, { is_disabled: false }))}
        >
          {t('users.enable')}
        </button>
      ) : (
        <Confirm
          act={does.act}
          label={t('users.disable')}
          question={t('users.disable.ask', { name })}
          work={() => does.change(name, { is_disabled: true })}
        />
      )}
      <Confirm
        act={does.act}
        label={t('users.remove')}
        question={t('users.remove.ask', { name })}
        work={() => does.remove(name)}
      />
    </span>
  );
}
