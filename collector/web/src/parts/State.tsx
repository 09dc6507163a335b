// What is shown while there is no answer, or an old one.
import type { ComponentChildren, JSX } from 'preact';
import type { Asked } from '../app/ask';
import { type Key, t } from '../text';
import { clock, minute } from '../text/numbers';

interface Props<T> {
  readonly of: Asked<T> & { again: () => void };
  /** What is awaited. */
  readonly what: Key;
  readonly children: (value: T) => ComponentChildren;
}

/** An answer, or what there is instead. */
export function State<T>({ of, what, children }: Props<T>): JSX.Element {
  return (
    <>
      {of.failed && <Failed of={of} />}
      {of.value !== undefined && children(of.value)}
      {of.value === undefined && !of.failed && <Waiting shown={of.slow} what={what} />}
    </>
  );
}

function Waiting({ shown, what }: { shown: boolean; what: Key }) {
  return (
    <div class="waiting" role="status" aria-live="polite">
      {shown && (
        <>
          <p>{t('state.asking', { what: t(what) })}</p>
          <div class="bone wide" />
          <div class="bone" />
          <div class="bone narrow" />
        </>
      )}
    </div>
  );
}

function Failed<T>({ of }: { of: Asked<T> & { again: () => void } }) {
  const { status = 0, detail = '' } = of.failed ?? {};
  return (
    <div class="notice bad" role="alert">
      <p>
        <strong>
          {status === 0 ? t('state.unreachable') : t('state.failed', { status: String(status) })}
        </strong>{' '}
        {of.at !== undefined && t('state.old', { at: clock(of.at) })}
      </p>
      {detail !== '' && <p lang="en">{detail}</p>}
      <button type="button" class="pill" onClick={of.again}>
        {t('state.again')}
      </button>
    </div>
  );
}

/** Nothing, and what to do about it. */
export function Empty({ what, children }: { what: Key; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p>{t(what)}</p>
      {children}
    </div>
  );
}

/** Up to when an answer tells. */
export function AsOf({ at }: { at: number }) {
  return <span class="asof num">{t('state.asof', { at: minute(at) })}</span>;
}

/** Data were deleted that the window would have. */
export function Evicted({ at, from }: { at: number | null | undefined; from: number }) {
  if (!at || at <= from) return null;
  return <p class="notice">{t('state.evicted', { at: clock(at) })}</p>;
}
