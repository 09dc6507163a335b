// How often something took how long.
import type { Schema } from '../api/client';
import { t } from '../text';
import { count, micros } from '../text/numbers';

/** A distribution: a bar for each bucket, its percentiles below. */
export function Spread({
  label,
  of,
}: {
  label: string;
  of: Schema['Distribution'] | null | undefined;
}) {
  if (!of) {
    return (
      <figure class="spread">
        <figcaption>{label}</figcaption>
        <p class="dim">{t('unmeasured')}</p>
      </figure>
    );
  }
  const most = Math.max(...of.buckets.map((bucket) => bucket.count), 1);
  const percentile = (name: string, value: Schema['Quantile'] | null | undefined) =>
    value ? `${name} ${micros(value.value_us)}` : '';
  return (
    <figure class="spread">
      <figcaption>
        {label}{' '}
        <span class="num dim">
          {[percentile('p50', of.p50), percentile('p90', of.p90), percentile('p99', of.p99)]
            .filter((part) => part !== '')
            .join(' · ')}
        </span>
      </figcaption>
      <table class="buckets">
        <tbody>
          {of.buckets.map((bucket) => (
            <tr key={bucket.low_us}>
              <th scope="row" class="num">
                {bucket.high_us === null || bucket.high_us === undefined
                  ? `≥ ${micros(bucket.low_us)}`
                  : `${micros(bucket.low_us)} – ${micros(bucket.high_us)}`}
              </th>
              <td>
                <progress value={bucket.count} max={most} aria-hidden="true" />
              </td>
              <td class="n num">{count(bucket.count)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}
