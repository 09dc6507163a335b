// What a person does about an alert: says that somebody knows, or has it silent for a while.
import { useState } from 'preact/hooks';
import { type Schema, tell } from '../../api/client';
import { person } from '../../api/session';
import { useOperates } from '../../app/may';
import { useStore } from '../../app/store';
import { lengthOf } from '../../app/time';
import { Failed, useAct } from '../../parts/Act';
import { t } from '../../text';
import { clock } from '../../text/numbers';
import { matchers, REACHES } from './reach';

type Alert = Schema['AlertShown'];

interface Props {
  readonly alert: Alert;
  readonly changed: () => void;
}

export function Acknowledge({ alert, changed }: Props) {
  const act = useAct();
  const may = useOperates();
  const role = useStore(person)?.role ?? 'viewer';
  const path = `/api/v1/alerts/${alert.id}/ack`;
  const known = alert.acknowledged;
  const know = (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const why = String(given.get('why') ?? '').trim();
    act.run(async () => {
      await tell(path, { why });
      changed();
    });
  };
  const back = () =>
    act.run(async () => {
      await tell(path, null, 'DELETE');
      changed();
    });
  return (
    <>
      <h2>{t('ack.title')}</h2>
      {known && (
        <p>
          {t('ack.by', { who: known.who, at: clock(known.at_ms) })} {known.why}{' '}
          {may && (
            <button type="button" class="plain" onClick={back}>
              {t('ack.back')}
            </button>
          )}
        </p>
      )}
      {!may && <p class="notice">{t('ack.may', { role: t(`rank.${role}`) })}</p>}
      {!known && may && alert.phase !== 'resolved' && (
        <form class="tools" onSubmit={(event) => know(event as SubmitEvent)}>
          <label class="field">
            <span class="dim">{t('ack.why')}</span>
            <input name="why" maxLength={500} />
          </label>
          <button type="submit" class="primary" disabled={act.waiting}>
            {t('ack.go')}
          </button>
        </form>
      )}
      <Failed of={act} />
    </>
  );
}

const LENGTHS = ['30m', '2h', '8h', '1d', '7d'] as const;

/** How long it is to be silent, in a form. */
export function Lengths() {
  return (
    <label class="field">
      <span class="dim">{t('silence.for')}</span>
      <select name="length">
        {LENGTHS.map((length) => (
          <option key={length} value={length}>
            {t(`silence.${length}`)}
          </option>
        ))}
      </select>
    </label>
  );
}

export function Silence({ alert, changed }: Props) {
  const act = useAct();
  const may = useOperates();
  const [done, setDone] = useState('');
  if (!may) return null;
  const silence = (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const of = (name: string) => String(given.get(name) ?? '');
    const until = Date.now() + lengthOf(of('length'));
    const reach = REACHES.find((one) => one === of('reach')) ?? 'this';
    const body = { matchers: matchers(alert, reach), until_ms: until, why: of('why').trim() };
    act.run(async () => {
      await tell('/api/v1/silences', body);
      setDone(t('silence.done', { at: clock(until) }));
      changed();
    });
  };
  return (
    <>
      <h2>{t('silence.title')}</h2>
      <form class="tools" onSubmit={(event) => silence(event as SubmitEvent)}>
        <label class="field">
          <span class="dim">{t('silence.what')}</span>
          <select name="reach">
            {REACHES.map((reach) => (
              <option key={reach} value={reach}>
                {t(`silence.${reach}`)}
              </option>
            ))}
          </select>
        </label>
        <Lengths />
        <label class="field">
          <span class="dim">{t('silence.why')}</span>
          <input name="why" maxLength={500} required />
        </label>
        <button type="submit" class="primary" disabled={act.waiting}>
          {t('silence.go')}
        </button>
      </form>
      {done !== '' && <output class="notice">{done}</output>}
      <Failed of={act} />
    </>
  );
}
