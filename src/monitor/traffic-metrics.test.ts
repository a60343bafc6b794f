import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registry } from 'prom-client';
import { Meter } from '../platform/meter.ts';
import { registerTraffic } from './traffic-metrics.ts';

test('requests to the log are histograms by stream, with what they carried', async () => {
  const append = new Meter();
  const fetch = new Meter();
  for (const seconds of [0.0005, 0.001, 0.003, 60]) append.took(seconds);
  append.carried(3, 1_500);
  fetch.failed();
  const registry = new Registry();
  registerTraffic(registry, () => [{ stream: 'eu', append: append.tally, fetch: fetch.tally }]);
  const text = await registry.metrics();
  const value = (line: string): number =>
    Number(
      text
        .split('\n')
        .find((each) => each.startsWith(line))
        ?.split(' ')
        .at(-1),
    );
  const labels = (le: string): string => `syncline_log_request_seconds_bucket{le="${le}",stream="eu",request="append"}`;
  assert.match(text, /^# TYPE syncline_log_request_seconds histogram$/m);
  assert.deepEqual(
    ['0.001', '0.002', '0.005', '10', '+Inf'].map((le) => value(labels(le))),
    [2, 2, 3, 3, 4],
  );
  assert.equal(value('syncline_log_request_seconds_count{stream="eu",request="append"}'), 4);
  assert.equal(value('syncline_log_request_seconds_sum{stream="eu",request="append"}'), 60.0045);
  assert.equal(value('syncline_log_transferred_bytes_total{stream="eu",request="append"}'), 1_500);
  assert.equal(value('syncline_log_transferred_records_total{stream="eu",request="append"}'), 3);
  assert.equal(value('syncline_log_request_errors_total{stream="eu",request="fetch"}'), 1);
  assert.equal(append.bytesPerRecord, 500);
});
