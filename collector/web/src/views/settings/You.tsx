// Oneself: by what one is known, what one may do, password, sessions, tokens.
import { useState } from 'preact/hooks';
import { type Schema, tell } from '../../api/client';
import type { Person } from '../../api/session';
import { Failed, useAct } from '../../parts/Act';
import { t } from '../../text';
import { clock } from '../../text/numbers';
import { Sessions } from './Sessions';
import { Tokens } from './Tokens';

export function You({ known }: { known: Person }) {
  const ends = known.expires_ms ? clock(known.expires_ms) : t('unknown');
  const name = known.is_user ? known.name : `${known.name.slice(0, 8)}…`;
  return (
    <>
      <div class="say ok">
        <p>
          <strong>{t('you.say', { name, role: t(`rank.${known.role}`) })}</strong>{' '}
          {t(`you.by.${known.by}`, {
            ends,
            at: known.session ? clock(known.session.begun_ms) : '',
            source: known.session?.source ?? '',
          })}
        </p>
        <p>{t(`you.may.${known.role}`)}</p>
      </div>
      {known.is_user ? <Password /> : <p class="notice">{t('you.no.user')}</p>}
      {(known.is_user || known.role === 'admin') && (
        <>
          <Sessions known={known} />
          <Tokens known={known} />
        </>
      )}
    </>
  );
}

function Password() {
  const act = useAct();
  const [done, setDone] = useState('');
  const change = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const given = new FormData(form);
    const body = { old: String(given.get('old') ?? ''), new: String(given.get('new') ?? '') };
    act.run(async () => {
      const ended = await tell<Schema['Ended']>('/api/v1/password', body);
      setDone(t('password.done', { n: ended.sessions }));
      form.reset();
    });
  };
  return (
    <section>
      <h2>{t('password.title')}</h2>
      <form class="tools" onSubmit={(event) => change(event as SubmitEvent)}>
        <label class="field">
          <span class="dim">{t('password.old')}</span>
          <input name="old" type="password" autoComplete="current-password" required />
        </label>
        <label class="field">
          <span class="dim">{t('password.new')}</span>
          <input
            name="new"
            type="password"
            autoComplete="new-password"
            minLength={12}
            required
            title={t('password.help')}
          />
        </label>
        <button type="submit" class="primary" disabled={act.waiting}>
          {t('password.go')}
        </button>
        <span class="dim">{t('password.help')}</span>
      </form>
      {done !== '' && act.failed === '' && <output class="notice">{done}</output>}
      <Failed of={act} />
    </section>
  );
}
