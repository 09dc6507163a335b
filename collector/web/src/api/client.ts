// The collector's API, by the types that are made from its OpenAPI document.
import type { components, paths } from '../../generated/schema';
import { credential, forget } from './session';

export type Schema = components['schemas'];

/** Addresses that answer a question with JSON. */
type Gettable = {
  [P in keyof paths]: paths[P] extends {
    get: { responses: { 200: { content: { 'application/json': unknown } } } };
  }
    ? P
    : never;
}[keyof paths];

export type AnswerOf<P extends Gettable> = paths[P] extends {
  get: { responses: { 200: { content: { 'application/json': infer A } } } };
}
  ? A
  : never;

type Get<P extends Gettable> = paths[P] extends { get: infer G } ? G : never;
export type QueryOf<P extends Gettable> =
  Get<P> extends { parameters: { query?: infer Q } } ? NonNullable<Q> : never;
type PathOf<P extends Gettable> =
  Get<P> extends { parameters: { path: infer Q } } ? Q : Record<string, never>;

/** A refusal of the collector, or that it did not answer. */
export class Refused extends Error {
  constructor(
    /** HTTP status; 0 where there was no answer. */
    readonly status: number,
    /** A word for programs. */
    readonly word: string,
    /** What is wrong and what to do, in the collector's words. */
    readonly detail: string,
  ) {
    super(detail);
  }
}

/** Asks one address. */
export async function ask<P extends Gettable>(
  path: P,
  given: { path?: PathOf<P>; query?: QueryOf<P>; signal?: AbortSignal },
): Promise<AnswerOf<P>> {
  const response = await send(
    address(path, given.path as object | undefined, given.query),
    given.signal,
  );
  return (await response.json()) as AnswerOf<P>;
}

/** The address of a question, below the collector's. */
export function address(path: string, inPath?: object, query?: object): string {
  let filled = path;
  for (const [name, value] of Object.entries(inPath ?? {})) {
    filled = filled.replace(`{${name}}`, encodeURIComponent(String(value)));
  }
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null) search.set(name, String(value));
  }
  const text = search.toString();
  return text === '' ? filled : `${filled}?${text}`;
}

/** Tells the collector something, as JSON. */
export async function tell<A = Schema['Whoami']>(
  path: string,
  body: object | null,
  method: 'POST' | 'PUT' | 'PATCH' | 'DELETE' = 'POST',
): Promise<A> {
  const given = { method, ...(body && { body: JSON.stringify(body) }) };
  return (await (await send(path, undefined, given)).json()) as A;
}

/** Sends a file, or none, and gives what is answered. */
export async function post(
  path: string,
  file: Blob | null,
  given: { method?: 'POST' | 'PUT'; query?: object; signal?: AbortSignal } = {},
): Promise<Response> {
  const sent = { method: given.method ?? 'POST', ...(file && { body: file }) };
  return send(address(path, undefined, given.query), given.signal, sent);
}

/** A file that is answered. */
export async function file(path: string, query: object): Promise<Blob> {
  return (await send(address(path, undefined, query))).blob();
}

async function send(url: string, signal?: AbortSignal, given: RequestInit = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (typeof given.body === 'string') headers['Content-Type'] = 'application/json';
  const token = credential();
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  let response: Response;
  try {
    const options: RequestInit = { ...given, headers, credentials: 'same-origin' };
    response = await fetch(url, { ...options, ...(signal && { signal }) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused(0, 'unreachable', String(error));
  }
  if (response.ok) return response;
  const refused = await refusal(response);
  if (refused.status === 401) forget();
  throw refused;
}

async function refusal(response: Response): Promise<Refused> {
  try {
    const problem = (await response.json()) as Partial<Schema['Problem']>;
    return new Refused(response.status, problem.error ?? '', problem.detail ?? '');
  } catch {
    return new Refused(response.status, '', response.statusText);
  }
}
