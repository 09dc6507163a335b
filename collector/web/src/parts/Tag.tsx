// Small words beside things.
import type { ComponentChildren } from 'preact';
import type { Level } from '../judge';
import { t } from '../text';

export function Tag({ level, children }: { level?: Level | 'via'; children: ComponentChildren }) {
  return <span class={level ? `tag ${level}` : 'tag'}>{children}</span>;
}

const SIGNS: Record<Level, string> = { bad: '✕', warn: '!', ok: '✓', unknown: '?' };

/** How something is, in a word: colour is never the only sign. */
export function LevelTag({ level }: { level: Level }) {
  return (
    <Tag level={level}>
      <span aria-hidden="true">{SIGNS[level]}</span> {t(`level.${level}`)}
    </Tag>
  );
}

/** That nobody has declared it. */
export function Undeclared() {
  return <span class="tag undeclared">{t('declared.undeclared')}</span>;
}
