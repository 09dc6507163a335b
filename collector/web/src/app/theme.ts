// Light or dark: as the system says, or as chosen in this browser.
import { store } from './store';

export const THEMES = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

const PLACE = 'waybill.theme';
const kept = localStorage.getItem(PLACE);

export const theme = store<Theme>(THEMES.find((one) => one === kept) ?? 'auto');

/** Chooses, for the next time as well. */
export function choose(chosen: Theme): void {
  localStorage.setItem(PLACE, chosen);
  theme.set(chosen);
  show();
}

/** Puts it in force. */
export function show(): void {
  document.documentElement.dataset.theme = theme.get();
}
