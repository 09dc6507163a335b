// The rules by which alerts are found.
import { ask, type Schema } from '../../api/client';
import { useAsk } from '../../app/ask';
import { State } from '../../parts/State';
import { type Column, Table } from '../../parts/Table';
import { Tag } from '../../parts/Tag';
import { t, useLanguage } from '../../text';
import { span } from '../../text/numbers';
import { SeverityTag } from './words';

type Rule = Schema['RuleShown'];

export function Rules() {
  const language = useLanguage();
  const answer = useAsk(language, 0, (signal) =>
    ask('/api/v1/rules', { query: { language }, signal }),
  );
  const columns: Column<Rule>[] = [
    {
      id: 'severity',
      title: t('alert.severity'),
      value: (rule) => rule.severity,
      show: (rule) => <SeverityTag of={rule.severity} />,
    },
    {
      id: 'name',
      title: t('rule.name'),
      value: (rule) => rule.name,
      show: (rule) => (
        <>
          {rule.name} {!rule.enabled && <Tag level="warn">{t('rule.off')}</Tag>}
        </>
      ),
    },
    {
      id: 'meaning',
      title: t('alert.meaning'),
      value: (rule) => rule.meaning,
      show: (rule) => (
        <details>
          <summary>{rule.meaning}</summary>
          <ul class="points">
            {rule.likely_causes.map((cause) => (
              <li key={cause}>{cause}</li>
            ))}
          </ul>
          <p>{rule.next_step}</p>
        </details>
      ),
    },
    { id: 'table', title: t('rule.table'), value: (rule) => rule.table.replaceAll('_', ' ') },
    {
      id: 'expression',
      title: t('rule.expression'),
      value: (rule) => rule.expression,
      show: (rule) => <code class="mono">{rule.expression}</code>,
    },
    {
      id: 'for_ms',
      title: t('rule.for'),
      value: (rule) => rule.for_ms,
      show: (rule) => span(rule.for_ms),
      number: true,
    },
    {
      id: 'keep_for_ms',
      title: t('rule.keep'),
      value: (rule) => rule.keep_for_ms,
      show: (rule) => span(rule.keep_for_ms),
      number: true,
    },
    {
      id: 'source',
      title: t('rule.source'),
      value: (rule) => rule.source,
      show: (rule) => (rule.source === 'shipped' ? t('rule.shipped') : rule.source),
    },
  ];
  return (
    <State of={answer} what="what.rules">
      {({ rules }) => (
        <>
          <p>
            {t('rules.say', { n: rules.length, on: rules.filter((one) => one.enabled).length })}
          </p>
          <Table
            name="rules"
            columns={columns}
            rows={rules}
            keyOf={(rule) => rule.name}
            sort="name"
          />
        </>
      )}
    </State>
  );
}
