// What the keyboard does.
import { useEffect, useState } from 'preact/hooks';
import { type Key, t } from '../text';
import { change, go, link, place } from './route';
import { follow, freeze, windowOf } from './time';

const KEYS: readonly [string, Key][] = [
  ['/', 'keys.search'],
  ['g m', 'keys.map'],
  ['g a', 'keys.alerts'],
  ['g x', 'keys.matrix'],
  ['g f', 'keys.fleet'],
  ['g e', 'keys.events'],
  ['g s', 'keys.settings'],
  ['l', 'keys.live'],
  ['Esc', 'keys.close'],
  ['?', 'keys.help'],
];

const VIEWS: Record<string, string> = {
  m: 'map',
  a: 'alerts',
  x: 'matrix',
  f: 'fleet',
  e: 'events',
  d: 'data',
  s: 'settings',
};

/** Whether keys are being written somewhere. */
function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && ['INPUT', 'SELECT', 'TEXTAREA'].includes(target.tagName);
}

export function useKeys(): { open: boolean; close: () => void } {
  const [open, setOpen] = useState(false);
  useEffect(() => {
    let before = '';
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      const last = before;
      before = event.key;
      if (last === 'g' && VIEWS[event.key]) go(link(VIEWS[event.key] ?? 'map'));
      else if (event.key === '/') document.getElementById('search')?.focus();
      else if (event.key === '?') setOpen(true);
      else if (event.key === 'l') {
        const window = windowOf(place.get());
        if (window.live) freeze(window);
        else follow('1h');
      } else if (event.key === 'Escape') {
        setOpen(false);
        change({ sel: '' });
      } else return;
      event.preventDefault();
    };
    window.addEventListener('keydown', press);
    return () => window.removeEventListener('keydown', press);
  }, []);
  return { open, close: () => setOpen(false) };
}

export function Keys({ close }: { close: () => void }) {
  return (
    <div class="over">
      <section class="sheet" role="dialog" aria-modal="true" aria-label={t('keys.title')}>
        <button type="button" class="square close" aria-label={t('panel.close')} onClick={close}>
          ×
        </button>
        <h2>{t('keys.title')}</h2>
        <dl class="facts">
          {KEYS.map(([key, what]) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{t(what)}</dd>
            </div>
          ))}
        </dl>
      </section>
    </div>
  );
}
