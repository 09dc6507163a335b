// Addresses: each view has one, with all that it shows, so that a link shows the same to others.
import { store, useStore } from './store';

/** Where the page is served. */
const BASE = '/ui/';

export interface Route {
  /** The view, `map` at the beginning. */
  readonly view: string;
  /** What it is about; empty for none. */
  readonly id: string;
  readonly query: Readonly<Record<string, string>>;
}

/** Reads an address. */
export function parse(path: string, search: string): Route {
  const rest = path.startsWith(BASE) ? path.slice(BASE.length) : '';
  const [view = '', ...id] = rest.split('/');
  return {
    view: view === '' ? 'map' : view,
    id: id.map(decoded).join('/'),
    query: Object.fromEntries(new URLSearchParams(search)),
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Writes an address; what is empty is left out. */
export function format(route: Route): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(route.query)) {
    if (value !== '') search.set(name, value);
  }
  const id = route.id === '' ? '' : `/${encodeURIComponent(route.id)}`;
  const text = search.toString();
  return `${BASE}${route.view}${id}${text === '' ? '' : `?${text}`}`;
}

/** What a time range is kept in, from view to view. */
const KEPT = ['range', 'from', 'to'] as const;

/** Where we are. */
export const place = store<Route>(parse(location.pathname, location.search));

window.addEventListener('popstate', () => place.set(parse(location.pathname, location.search)));

/** The address of a view, with the time range of this one. */
export function link(view: string, id = '', query: Record<string, string> = {}): string {
  const now = place.get().query;
  const kept = KEPT.flatMap((name) => (now[name] ? [[name, now[name]] as const] : []));
  return format({ view, id, query: { ...Object.fromEntries(kept), ...query } });
}

/** Goes to an address; back comes here again. */
export function go(to: string): void {
  history.pushState(null, '', to);
  arrive();
}

/** Changes parts of this address: a step of its own only where `step` says so. */
export function change(query: Record<string, string>, step = false): void {
  const now = place.get();
  const to = format({ ...now, query: { ...now.query, ...query } });
  if (step) history.pushState(null, '', to);
  else history.replaceState(null, '', to);
  arrive();
}

function arrive(): void {
  place.set(parse(location.pathname, location.search));
}

export function useRoute(): Route {
  return useStore(place);
}

/** Follows links within the page without loading it anew. */
export function followLinks(event: MouseEvent): void {
  const plain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey);
  const anchor = (event.target as Element | null)?.closest?.('a[href]');
  const href = anchor?.getAttribute('href') ?? '';
  if (!plain || event.defaultPrevented || !href.startsWith(BASE)) return;
  if (anchor?.hasAttribute('download')) return;
  event.preventDefault();
  go(href);
}
