// What whoever asks may do.
import { person } from '../api/session';
import { useStore } from './store';

/** Whether they change what is told of alerts. */
export function useOperates(): boolean {
  const role = useStore(person)?.role;
  return role === 'operator' || role === 'admin';
}
