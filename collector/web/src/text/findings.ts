// Findings in words.
import type { Finding } from '../judge';
import { type Filling, t } from './index';
import { micros, share } from './numbers';

function filling({ kind, n, of }: Finding): Filling {
  if (kind === 'slow') return { now: micros(n), old: micros(of) };
  return { n, of, share: share(n, of) };
}

/** As a part of a sentence. */
export function sentence(finding: Finding): string {
  return t(`finding.${finding.kind}`, filling(finding));
}

/** As short as it can be said. */
export function brief(finding: Finding): string {
  return t(`brief.${finding.kind}`, filling(finding));
}
