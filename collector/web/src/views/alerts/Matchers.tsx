// Conditions on labels of alerts, as they are read and filled in.
import { has, type Key, t } from '../../text';
import { filled, LABELS, type Matcher } from './mutes';

/** A label in words; one that came after this page by its name. */
function labelSay(label: string): string {
  const key = `label.${label}`;
  return has(key) ? t(key as Key) : label;
}

/** What is meant, in words. */
export function said(matchers: readonly Matcher[]): string {
  const one = ({ label, value, not }: Matcher) =>
    not ? `${labelSay(label)} ${t('silence.not')} ${value}` : `${labelSay(label)} ${value}`;
  return matchers.map(one).join(', ');
}

interface Props {
  readonly of: readonly Matcher[];
  readonly change: (matchers: readonly Matcher[]) => void;
}

/** Conditions to be filled in. All of them must be met. */
export function Matchers({ of, change }: Props) {
  const put = (at: number, part: Partial<Matcher>) =>
    change(of.map((one, n) => (n === at ? { ...one, ...part } : one)));
  return (
    <fieldset class="matchers">
      <legend class="dim">{t('matchers.legend')}</legend>
      {of.map((one, at) => (
        <div key={at} class="tools">
          <select
            aria-label={t('matchers.label')}
            value={one.label}
            onChange={(event) => put(at, { label: event.currentTarget.value })}
          >
            {LABELS.map((label) => (
              <option key={label} value={label}>
                {labelSay(label)}
              </option>
            ))}
          </select>
          <select
            aria-label={t('matchers.how')}
            value={one.not ? 'not' : 'is'}
            onChange={(event) => put(at, { not: event.currentTarget.value === 'not' })}
          >
            <option value="is">{t('matchers.is')}</option>
            <option value="not">{t('silence.not')}</option>
          </select>
          <input
            aria-label={t('matchers.value')}
            value={one.value}
            maxLength={256}
            required={at === 0}
            placeholder={t('matchers.hint')}
            onInput={(event) => put(at, { value: event.currentTarget.value })}
          />
          {of.length > 1 && (
            <button
              type="button"
              class="plain"
              onClick={() => change(of.filter((_, n) => n !== at))}
            >
              {t('matchers.less')}
            </button>
          )}
        </div>
      ))}
      {of.length < 16 && (
        <button
          type="button"
          class="plain"
          onClick={() => change([...of, { label: 'service', value: '' }])}
        >
          {t('matchers.more')}
        </button>
      )}
      {filled(of).every((one) => one.not) && filled(of).length > 0 && (
        <p class="dim">{t('matchers.only.not')}</p>
      )}
    </fieldset>
  );
}
