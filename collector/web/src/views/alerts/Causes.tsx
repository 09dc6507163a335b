// What may have caused it: at most three candidates, each with its numbers, and no verdict.
import type { Schema } from '../../api/client';
import { Tag } from '../../parts/Tag';
import { t } from '../../text';
import { measured, short } from '../../text/numbers';

type Candidate = Schema['CandidateShown'];

export function Causes({ of, open = false }: { of: readonly Candidate[]; open?: boolean }) {
  if (of.length === 0) {
    return open ? <p class="dim">{t('group.causes.none')}</p> : null;
  }
  const list = (
    <>
      <p class="dim">{t('group.causes.help')}</p>
      <ol class="list">
        {of.map((one) => (
          <li key={`${one.name} ${one.metric}`}>
            {one.why}{' '}
            <span class="dim num">
              {t('cause.before')} {measured(one.before, one.unit)} ±{' '}
              {measured(one.spread, one.unit)} · {t('cause.after')} {measured(one.after, one.unit)}{' '}
              ·{' '}
              <span title={t('cause.score.help')}>
                {t('cause.score')} {short(one.score)}
              </span>{' '}
              · {t('cause.hops')} {one.hops}
            </span>{' '}
            {one.low_confidence && <Tag level="unknown">{t('cause.low')}</Tag>}
          </li>
        ))}
      </ol>
    </>
  );
  // Where it is open, its title stands above.
  if (open) return <div class="causes">{list}</div>;
  return (
    <details class="causes">
      <summary>{t('group.causes')}</summary>
      {list}
    </details>
  );
}
