import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measureOffset } from '../clock-offset.ts';
import { compareClocks, compareSequences, compareServers } from './compare-servers.ts';
import type { Portrait } from './portrait.ts';

const PORTRAIT: Portrait = {
  region: 'eu',
  server: {
    version: '18.4',
    major: 18,
    encoding: 'UTF8',
    collation: 'icu, und, ctype C',
    collation_version: '1',
    collations: [],
  },
  interleave: null,
  tables: [],
  types: [],
  sequences: [],
};
const us = (change: Partial<Portrait['server']>): Portrait => ({
  ...PORTRAIT,
  region: 'us',
  server: { ...PORTRAIT.server, ...change },
});

test('the quickest answer tells the offset, and half of its time the error', async () => {
  let nowMs = 0;
  const delays = [400, 90, 10, 60, 200];
  const offset = await measureOffset(
    async () => {
      const delay = delays.shift() ?? 0;
      nowMs += delay / 2;
      const answer = nowMs + 5_000;
      nowMs += delay / 2;
      return answer;
    },
    () => nowMs,
  );
  assert.deepEqual(offset, { offsetMs: 5_000, errorMs: 5 });
});

test('clocks differ where they do beyond the doubt', () => {
  const at = (region: string, offsetMs: number, errorMs: number) => ({ region, clock: { offsetMs, errorMs } });
  const level = (offsetMs: number, errorMs: number): string | undefined =>
    compareClocks(at('eu', 0, 1), at('us', offsetMs, errorMs), 60_000)[0]?.severity;
  assert.equal(level(100, 1), undefined);
  assert.equal(level(-300, 250), undefined);
  assert.equal(level(-300, 50), 'warning');
  assert.equal(level(61_000, 1_500), 'warning');
  assert.equal(level(-62_000, 1_500), 'error');
  const [found] = compareClocks(at('eu', 0, 1), at('us', 61_000.4, 1.2), 60_000);
  assert.match(found?.what ?? '', /^The clock of us is 61000 ms ahead of that of eu \(give or take 3 ms/);
});

test('servers may differ in version, and are told of encoding and collation', () => {
  const codes = (change: Partial<Portrait['server']>): string[] =>
    compareServers(PORTRAIT, us(change)).map(({ code, severity }) => `${code} ${severity}`);
  assert.deepEqual(codes({}), []);
  assert.deepEqual(codes({ version: '15.1', major: 15 }), ['SYN-P044 info']);
  assert.deepEqual(codes({ encoding: 'LATIN1' }), ['SYN-P044 warning']);
  assert.deepEqual(codes({ collation_version: '2' }), ['SYN-P044 info']);
  const collations = [{ name: 'public.ci', version: '1' }];
  const one = { ...PORTRAIT, server: { ...PORTRAIT.server, collations } };
  assert.deepEqual(compareServers(one, us({ collations })), []);
  const [found] = compareServers(one, us({ collations: [{ name: 'public.ci', version: '2' }] }));
  assert.equal(found?.what, 'The version of the collation public.ci is 1 in eu and 2 in us.');
  const [defined] = compareServers(
    {
      ...PORTRAIT,
      server: { ...PORTRAIT.server, collations: [{ name: 'public.ci', version: '1', definition: 'icu, de' }] },
    },
    us({ collations: [{ name: 'public.ci', version: null, definition: 'libc, C' }] }),
  );
  assert.equal(defined?.what, 'The collation public.ci is icu, de in eu and libc, C in us.');
  assert.deepEqual(codes({ collation: 'libc, C, ctype C' }), ['SYN-P044 warning']);
});

test('two plans that meet are an error, whatever their size', () => {
  const planned = (of: number, offset: number): Portrait => ({ ...PORTRAIT, interleave: { of, offset } });
  const meets = (one: Portrait, other: Portrait): boolean =>
    compareSequences(one, { ...other, region: 'us' }).some(
      ({ code, severity }) => code === 'SYN-P046' && severity === 'error',
    );
  assert.ok(meets(planned(8, 1), planned(8, 1)));
  assert.ok(meets(planned(4, 1), planned(8, 5)));
  assert.ok(!meets(planned(8, 1), planned(8, 2)));
  assert.ok(!meets(planned(4, 1), planned(8, 2)));
});
