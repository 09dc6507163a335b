// The front door: what was typed or pasted, and what it names.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ask, type Schema } from '../api/client';
import { t } from '../text';
import { count } from '../text/numbers';
import { useAsk } from './ask';
import { go, link } from './route';
import { lately, useWindow } from './time';

type Hit = Schema['Hit'];

/** Pause in typing after which is asked. */
const PAUSE_MS = 80;

/** The view of a hit: its address in the API says what it is about. */
export function viewOf(hit: Hit): string {
  const url = new URL(hit.href, 'https://collector.invalid');
  const last = decodeURIComponent(url.pathname.split('/').at(-1) ?? '');
  switch (hit.kind) {
    case 'chain':
      return link('chain', '', { tuple: url.searchParams.get('tuple') ?? hit.title });
    case 'host':
      return link('host', url.searchParams.get('host') ?? hit.title);
    case 'edge':
      return link('edge', last);
    default:
      return link('node', last);
  }
}

export function Search() {
  const field = useRef<HTMLInputElement>(null);
  const [text, setText] = useState('');
  const [posed, setPosed] = useState('');
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  const window = lately(useWindow());
  useEffect(() => {
    const timer = setTimeout(() => setPosed(text.trim()), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const answer = useAsk(JSON.stringify([posed, window]), 0, async (signal) =>
    posed === ''
      ? null
      : ask('/api/v1/search', { query: { q: posed, ...window, limit: 12 }, signal }),
  );
  const hits = answer.value?.hits ?? [];
  const choose = (hit: Hit | undefined) => {
    if (!hit) return;
    go(viewOf(hit));
    setOpen(false);
    field.current?.blur();
  };
  const key = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown') setAt(Math.min(at + 1, hits.length - 1));
    else if (event.key === 'ArrowUp') setAt(Math.max(at - 1, 0));
    // Not what an older text named.
    else if (event.key === 'Enter' && answer.current && posed === text.trim()) choose(hits[at]);
    else if (event.key === 'Escape') {
      setOpen(false);
      field.current?.blur();
    } else return;
    event.preventDefault();
  };
  const shown = open && posed !== '';
  return (
    <search class="search">
      <span aria-hidden="true">⌕</span>
      <input
        id="search"
        ref={field}
        type="text"
        autoComplete="off"
        spellcheck={false}
        role="combobox"
        aria-label={t('search.label')}
        aria-expanded={shown}
        aria-controls="hits"
        aria-autocomplete="list"
        {...(shown && hits.length > 0 && { 'aria-activedescendant': `hit-${at}` })}
        placeholder={t('search.hint')}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
          setOpen(true);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={key}
      />
      <kbd>/</kbd>
      {shown && (
        <div class="hits">
          {answer.current && answer.value && (
            <p class="dim">{t(`search.as.${answer.value.understood}`)}</p>
          )}
          {!answer.current && !answer.failed && <p class="dim">{t('search.asking')}</p>}
          {answer.failed && (
            <p class="bad" lang="en">
              {answer.failed.detail}
            </p>
          )}
          {answer.value && hits.length === 0 && (
            <p>
              {t('search.none')} {t('search.none.do')}
            </p>
          )}
          <div
            id="hits"
            role="listbox"
            aria-label={t('search.label')}
            aria-busy={!answer.current || posed !== text.trim()}
          >
            {hits.map((hit, n) => (
              // biome-ignore lint/a11y/useKeyWithClickEvents: keys go to the field
              <div
                key={hit.href}
                id={`hit-${n}`}
                role="option"
                tabIndex={-1}
                aria-selected={n === at}
                onPointerDown={(event) => event.preventDefault()}
                onClick={() => choose(hit)}
              >
                <span class="tag">{t(`hit.${hit.kind}`)}</span> <b>{hit.title}</b>{' '}
                <span class="dim" lang="en">
                  {hit.why}
                </span>
                {hit.connections > 0 && <span class="num dim"> {count(hit.connections)}</span>}
              </div>
            ))}
          </div>
          {(answer.value?.more ?? 0) > 0 && (
            <p class="dim">{t('search.more', { n: answer.value?.more ?? 0 })}</p>
          )}
        </div>
      )}
    </search>
  );
}
