// Why something was not done, in words.
import { Refused } from '../api/client';
import { t } from './index';

export function why(error: unknown): string {
  if (!(error instanceof Refused)) return String(error);
  return error.status === 0 ? t('state.unreachable') : error.detail;
}
