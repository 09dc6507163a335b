// What is known of one thing: a name and a value each.
import type { ComponentChildren } from 'preact';

interface Props {
  readonly of: readonly (readonly [string, ComponentChildren])[];
  /** The language of names and values, where that is not the page's. */
  readonly lang?: string;
  /** How values are set. */
  readonly class?: 'num' | 'mono';
}

export function Facts({ of, lang, class: set = 'num' }: Props) {
  return (
    <dl class="facts" {...(lang && { lang })}>
      {of.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd class={set}>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
