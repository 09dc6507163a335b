// How alerts are called, wherever they are shown.
import type { Schema } from '../../api/client';
import type { Level } from '../../judge';
import { Tag } from '../../parts/Tag';
import { t } from '../../text';
import { clock, measured } from '../../text/numbers';

type Alert = Schema['AlertShown'];

export function levelOf(severity: Schema['Severity']): Level {
  return severity === 'critical' ? 'bad' : 'warn';
}

/** How bad it is, in a word: colour is never the only sign. */
export function SeverityTag({ of }: { of: Schema['Severity'] }) {
  return (
    <Tag level={levelOf(of)}>
      <span aria-hidden="true">{of === 'critical' ? '✕' : '!'}</span> {t(`severity.${of}`)}
    </Tag>
  );
}

/** Since when it is so: when it fired, else when it was found. */
export function sinceOf(alert: Alert): number {
  return alert.fired_ms ?? alert.began_ms;
}

/** What stands beside an alert: who knows, what is silent, what is not known. */
export function Notes({ of }: { of: Alert }) {
  return (
    <span class="notes start">
      {of.unknown_since_ms !== null && <Tag level="unknown">{t('alert.unknown')}</Tag>}
      {of.flapping && <Tag>{t('alert.flapping')}</Tag>}
      {of.muted && <Tag>{t('alert.silent', { at: clock(of.muted.until_ms) })}</Tag>}
      {of.covered_by && <Tag>{t('alert.covered')}</Tag>}
    </span>
  );
}

/** A value of a rule; a share, whose unit is `1`, in per cent. */
export function found(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined) return '–';
  return unit === '1' ? measured(value * 100, '%') : measured(value, unit);
}

/** The value beside its usual. */
export function valueSay(alert: Alert): string {
  const now = found(alert.value, alert.unit);
  const { usual } = alert;
  if (!usual) return t('alert.say.value.only', { now });
  return t('alert.say.value', {
    now,
    usual: found(usual.median, alert.unit),
    spread: found(usual.spread, alert.unit),
    days: usual.days,
  });
}
