// Words and numbers in the language of the person.
import { store, useStore } from '../app/store';
import { en, type Key } from './en';
import { zh } from './zh';

export type { Key } from './en';

export const LANGUAGES = { en, zh } as const;
export type Language = keyof typeof LANGUAGES;

const PLACE = 'waybill.language';
const LOCALES: Record<Language, string> = { en: 'en-GB', zh: 'zh-CN' };

function first(): Language {
  const chosen = localStorage.getItem(PLACE) ?? navigator.language;
  return chosen.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

export const language = store<Language>(first());

/** Chooses a language, for the next time as well. */
export function speak(chosen: Language): void {
  localStorage.setItem(PLACE, chosen);
  language.set(chosen);
}

export function locale(): string {
  return LOCALES[language.get()];
}

/** Draws anew when the language changes. */
export function useLanguage(): Language {
  return useStore(language);
}

export type Filling = Record<string, string | number>;

/** A text; numbers in it are written as the language does. */
export function t(key: Key, filling: Filling = {}): string {
  const text: string = LANGUAGES[language.get()][key];
  return fill(text, filling, locale());
}

/** Fills a text in: `{n}`, or `{n|one|other}` by number. */
export function fill(text: string, filling: Filling, of: string): string {
  return text.replace(/\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}/g, (_, name: string, one, other) => {
    const value = filling[name];
    if (value === undefined) return '';
    if (one !== undefined)
      return new Intl.PluralRules(of).select(Number(value)) === 'one' ? one : other;
    return typeof value === 'number' ? value.toLocaleString(of) : value;
  });
}

/** Whether there is a text of this name. */
export function has(key: string): key is Key {
  return key in en;
}
