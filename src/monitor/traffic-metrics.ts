// What the log carries over a network, as histograms and counters of Prometheus. The buckets are counted where
// it happens (platform/meter.ts); here they get their names.

import type { MetricObject, Registry } from 'prom-client';
import { LATENCY_BUCKETS, type StreamTraffic, type Tally } from '../platform/meter.ts';

type Value = { readonly labels: Record<string, string | number>; readonly value: number; readonly metricName?: string };

const HISTOGRAM = {
  name: 'syncline_log_request_seconds',
  help: 'From the request to the answer of the brokers, by stream and by what was asked: append or fetch.',
};
const COUNTERS = [
  ['syncline_log_transferred_bytes_total', 'Bytes of record batches, as they are sent.', ({ bytes }: Tally) => bytes],
  ['syncline_log_transferred_records_total', 'Records in them.', ({ records }: Tally) => records],
  ['syncline_log_request_errors_total', 'Requests that failed.', ({ errors }: Tally) => errors],
] as const;

/** Registers metrics that read the traffic when they are scraped. */
export function registerTraffic(registry: Registry, traffic: () => readonly StreamTraffic[]): void {
  const tallies = () =>
    traffic().flatMap(({ stream, append, fetch }) => [
      { labels: { stream, request: 'append' }, tally: append },
      { labels: { stream, request: 'fetch' }, tally: fetch },
    ]);
  register(registry, 'histogram', HISTOGRAM.name, HISTOGRAM.help, () =>
    tallies().flatMap(({ labels, tally }) => buckets(labels, tally)),
  );
  for (const [name, help, told] of COUNTERS) {
    register(registry, 'counter', name, help, () =>
      tallies().map(({ labels, tally }) => ({ labels, value: told(tally) })),
    );
  }
}

function buckets(labels: Value['labels'], { counts, seconds }: Tally): Value[] {
  let within = 0;
  const values: Value[] = [...LATENCY_BUCKETS, '+Inf'].map((le, place) => {
    within += counts[place] ?? 0;
    return { metricName: `${HISTOGRAM.name}_bucket`, labels: { le, ...labels }, value: within };
  });
  values.push({ metricName: `${HISTOGRAM.name}_sum`, labels, value: seconds });
  values.push({ metricName: `${HISTOGRAM.name}_count`, labels, value: within });
  return values;
}

function register(registry: Registry, type: string, name: string, help: string, values: () => Value[]): void {
  const metric = {
    name,
    help,
    type,
    aggregator: 'sum',
    get: async () => ({ name, help, type, aggregator: 'sum', values: values() }),
  };
  registry.registerMetric({ ...metric, reset: () => undefined } as unknown as Parameters<
    Registry['registerMetric']
  >[0] &
    MetricObject);
}
