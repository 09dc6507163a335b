// Alerts as a table.
import type { Schema } from '../../api/client';
import { link } from '../../app/route';
import { type Column, Table } from '../../parts/Table';
import { t } from '../../text';
import { ago, clock } from '../../text/numbers';
import { found, Notes, SeverityTag, sinceOf } from './words';

type Alert = Schema['AlertShown'];

export function AlertTable({ name, alerts }: { name: string; alerts: readonly Alert[] }) {
  const now = Date.now();
  const columns: Column<Alert>[] = [
    {
      id: 'severity',
      title: t('alert.severity'),
      value: (alert) => alert.severity,
      show: (alert) => <SeverityTag of={alert.severity} />,
    },
    {
      id: 'summary',
      title: t('alert.summary'),
      value: (alert) => alert.summary,
      show: (alert) => (
        <>
          <a class="wrap" href={link('alerts', alert.id)}>
            {alert.summary}
          </a>{' '}
          <Notes of={alert} />
        </>
      ),
    },
    { id: 'name', title: t('alert.about'), value: (alert) => alert.name },
    {
      id: 'phase',
      title: t('alert.phase'),
      value: (alert) => alert.phase,
      show: (alert) => t(`phase.${alert.phase}`),
    },
    {
      id: 'since_ms',
      title: t('alert.since'),
      value: sinceOf,
      show: (alert) => (
        <span class="num" title={clock(sinceOf(alert), now)}>
          {ago(sinceOf(alert), now)}
        </span>
      ),
    },
    {
      id: 'value',
      title: t('alert.value'),
      value: (alert) => alert.value,
      show: (alert) => found(alert.value, alert.unit),
      number: true,
    },
    {
      id: 'usual',
      title: t('alert.usual'),
      value: (alert) => alert.usual?.median ?? null,
      show: (alert) => (alert.usual ? found(alert.usual.median, alert.unit) : '–'),
      number: true,
    },
    {
      id: 'known',
      title: t('alert.known'),
      value: (alert) => alert.acknowledged?.who ?? null,
      show: (alert) =>
        alert.acknowledged ? (
          <span title={alert.acknowledged.why}>{alert.acknowledged.who}</span>
        ) : (
          <span class="dim">{t('alert.nobody')}</span>
        ),
    },
    { id: 'rule', title: t('alert.rule'), value: (alert) => alert.rule },
  ];
  return <Table name={name} columns={columns} rows={alerts} keyOf={(alert) => alert.id} />;
}
