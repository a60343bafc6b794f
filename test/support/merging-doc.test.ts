/** The examples of docs/merging.md are true, and its numbers and names are those of the code. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { makePosition } from '../../src/change/position.ts';
import { type FoldEvent, foldOn } from '../../src/resolve/fold.ts';
import { foldNow, foldTogether, neverAsked } from '../../src/resolve/fold-drivers.ts';
import { settledRow } from '../../src/resolve/fold-state.ts';
import { COLUMN_STRATEGIES, LAST_WRITER_WINS, type MergeRule, validateRule } from '../../src/resolve/merge-rule.ts';
import { MergeSandbox, runRepeatedly } from '../../src/resolve/sandbox/merge-sandbox.ts';
import { DEFAULT_LIMITS, makeMergeVersion } from '../../src/resolve/sandbox/merge-version.ts';

const PAGE = await readFile(join(import.meta.dirname, '../../docs/merging.md'), 'utf8');

type Example = {
  readonly strategy: (typeof COLUMN_STRATEGIES)[number];
  readonly type: string;
  readonly found: string;
  readonly earlier: string;
  readonly later: string;
  readonly result: string;
};

function blocks(language: string): string[] {
  return [...PAGE.matchAll(new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``, 'g'))].map(([, text = '']) => text);
}

/** Two regions that changed one row at once. */
function concurrently(rule: MergeRule, base: FoldEvent['before'], rows: readonly FoldEvent['after'][]): FoldEvent[] {
  return rows.map((after, at) => ({
    version: { hlc: BigInt(at + 1), origin: `r${at}` },
    position: makePosition('0000000000000000001', 1n),
    index: 0,
    seen: {},
    before: base,
    after,
    rule,
  }));
}

describe('the page about merging', () => {
  test('has examples of column strategies that come out as it says', () => {
    const examples = blocks('json').flatMap((block) => block.trim().split('\n'));
    assert.ok(examples.length >= 10);
    for (const line of examples) {
      const { strategy, type, found, earlier, later, result } = JSON.parse(line) as Example;
      const category = type.startsWith('_') ? 'A' : 'U';
      const rule = { ...LAST_WRITER_WINS, key: ['id'], columns: { c: { strategy, typeName: type } } };
      validateRule(rule, new Map([['c', { schema: 'pg_catalog', name: type, category }]]));
      const [base, ...rows] = [found, earlier, later].map((c) => ({ id: '1', c }));
      const { state } = foldNow(foldOn(settledRow(base ?? null), concurrently(rule, base ?? null, rows)), neverAsked);
      assert.equal(state.image?.c, result, line);
    }
  });

  test('has a function that does what it says, also when it is repeated', async () => {
    const [source = ''] = blocks('ts');
    const version = makeMergeVersion(source);
    const base = { id: '1', price: '20', note: 'new' };
    const rows = [
      { ...base, price: '15', note: 'offer' },
      { ...base, price: '18', note: 'checked' },
    ];
    const rule = { ...LAST_WRITER_WINS, table: 'public.offers', key: ['id'], rows: version };
    await using sandbox = new MergeSandbox();
    await sandbox.check(version);
    const [folded] = await foldTogether([foldOn(settledRow(base), concurrently(rule, base, rows))], {
      merge: (requests) => sandbox.merge(requests),
      validate: () => Promise.reject(new Error('nobody validates')),
    });
    assert.deepEqual(folded?.state.image, { id: '1', price: '15', note: 'offer / checked' });
    const [a = base, b = base] = rows;
    const party = { region: 'eu', time: '2026-01-01T00:00:00.000000Z' };
    const input = { base, a, b, meta: { table: 'public.offers', key: { id: '1' }, a: party, b: party } };
    const { isSame, answers } = await runRepeatedly(version, [input, input]);
    assert.ok(isSame);
    assert.deepEqual(answers[0], { image: folded?.state.image });
  });

  test('names every strategy, reason and limit', () => {
    const reasons = ['threw', 'exhausted', 'memory', 'wrong-type', 'changed-key', 'too-large'];
    for (const name of [...COLUMN_STRATEGIES, ...reasons]) assert.ok(PAGE.includes(`\`${name}\``), name);
    for (const [name, value] of Object.entries(DEFAULT_LIMITS)) {
      assert.match(PAGE, new RegExp(`\\| \`${name}\`[^|]*\\| ${value} \\|`));
    }
  });
});
