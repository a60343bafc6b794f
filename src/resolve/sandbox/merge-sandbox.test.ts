import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { SynclineError } from '../../platform/errors.ts';
import type { MergeAnswer } from '../fold.ts';
import type { MergeInput } from '../merge-types.ts';
import { MergeSandbox, runRepeatedly } from './merge-sandbox.ts';
import { type MergeLimits, makeMergeVersion } from './merge-version.ts';

const party = { region: 'a', time: '2026-01-01T00:00:00.000000Z' };
const meta = { table: 'public.t', key: { id: '1' }, a: party, b: party };
const INPUT: MergeInput = { base: { id: '1', n: '1' }, a: { id: '1', n: '2' }, b: { id: '1', n: '5' }, meta };

const sandbox = new MergeSandbox();
after(async () => await sandbox[Symbol.asyncDispose]());

async function runIn(
  source: string,
  limits: Partial<MergeLimits> = {},
  input = INPUT,
): Promise<MergeAnswer | undefined> {
  const version = makeMergeVersion(source, 'javascript', limits);
  sandbox.add(version);
  const [answer] = await sandbox.run([{ hash: version.hash, input }]);
  return answer;
}

const image = (n: string): MergeAnswer => ({ image: { id: '1', n } });

describe('a merge function', () => {
  test('takes three rows and gives one, written in TypeScript or JavaScript', async () => {
    const source = `
      import type { Merge } from 'syncline/merge';
      const merge: Merge = ({ base, a, b, meta }) => ({ ...a, n: [base?.n, a.n, b.n, meta.key.id].join() });
      export default merge;`;
    const version = makeMergeVersion(source);
    await sandbox.check(version);
    assert.deepEqual(await sandbox.run([{ hash: version.hash, input: INPUT }]), [image('1,2,5,1')]);
    assert.deepEqual(await runIn('export default function merge({ a }) { return a; }'), image('2'));
  });

  test('finds no clock, no randomness, no host, and nothing of an earlier call', async () => {
    const names = 'Date,Uint8Array,eval,fetch,setTimeout,process,require,console,WeakRef,performance,SharedArrayBuffer';
    const source = `let calls = 0;
      export default ({ a }) => {
        calls += 1;
        globalThis.left = (globalThis.left ?? 0) + 1;
        const there = '${names}'.split(',').filter((name) => name in globalThis);
        return { ...a, n: [calls, globalThis.left, typeof Math.random, ...there].join() };
      }`;
    for (let round = 0; round < 3; round += 1) assert.deepEqual(await runIn(source), image('1,1,undefined'));
  });

  const falls: Readonly<Record<string, [source: string, fallback: string]>> = {
    'that throws': ['export default () => { throw new Error("x"); }', 'threw'],
    'that throws nothing': ['export default () => { throw null; }', 'threw'],
    'that throws what traps who looks': ['export default () => { throw { get name() { for (;;); } }; }', 'threw'],
    'that never ends': ['export default () => { for (;;); }', 'exhausted'],
    'that calls itself': ['const f = () => f() + 1; export default f;', 'exhausted'],
    'that catches its own end': ['export default () => { for (;;) try { for (;;); } catch {} }', 'exhausted'],
    'that hides work in a getter': ['export default ({ a }) => ({ id: a.id, get n() { for (;;); } })', 'exhausted'],
    'that matches for ever': [
      'export default ({ a }) => ({ ...a, n: /^(a+)+$/.exec("a".repeat(40) + "b") })',
      'exhausted',
    ],
    'that nests arrays': [
      'export default ({ a }) => { let x = []; for (let i = 0; i < 2e5; i++) x = [x]; return { ...a, n: String(x) }; }',
      'exhausted',
    ],
    'that nests texts of JSON': [
      'export default ({ a }) => { let x = []; for (let i = 0; i < 2e5; i++) x = [x]; return { ...a, n: JSON.stringify(x) }; }',
      'exhausted',
    ],
    'that fills memory': [
      'export default () => { const a = []; for (;;) a.push("x".repeat(99) + a.length); }',
      'memory',
    ],
    'that asks for much memory': ['export default () => "x".repeat(1 << 28)', 'memory'],
    'that leaves memory in pieces': [
      'export default ({ a }) => { let f = () => "1"; for (let i = 0; i < 1e5; i++) f = f.bind(null); return { ...a, n: f() }; }',
      'memory',
    ],
    'that gives nothing': ['export default () => {}', 'wrong-type'],
    'that gives a promise': ['export default async ({ a }) => a', 'wrong-type'],
    'that gives a number': ['export default ({ a }) => ({ ...a, n: 5 })', 'wrong-type'],
    'that leaves a column out': ['export default ({ a }) => ({ id: a.id })', 'wrong-type'],
    'that adds a column': ['export default ({ a }) => ({ ...a, z: null })', 'wrong-type'],
    'that gives what no database holds': ['export default ({ a }) => ({ ...a, n: "a\\0b" })', 'wrong-type'],
    'that gives half a character': ['export default ({ a }) => ({ ...a, n: "\\ud800" })', 'wrong-type'],
    'that gives an array': ['export default () => []', 'wrong-type'],
    'that moves the row': ['export default ({ a }) => ({ ...a, id: "2" })', 'changed-key'],
    'that gives too much': ['export default ({ a }) => ({ ...a, n: "x".repeat(2e6) })', 'too-large'],
    'that fails before it is made': ['throw new Error("x"); export default 1;', 'threw'],
  };
  for (const [name, [source, fallback]] of Object.entries(falls)) {
    test(`${name} falls back: ${fallback}`, async () => {
      assert.deepEqual(await runIn(source), { fallback });
      assert.deepEqual(await runIn('export default ({ a }) => a'), image('2'), 'the next one is not touched');
    });
  }

  test('is not asked about a row that is too large', async () => {
    assert.deepEqual(await runIn('export default ({ a }) => a', { row_bytes: 100 }), { fallback: 'too-large' });
  });

  test('ends at the same step and the same byte wherever and after whatever it runs', async () => {
    const source = `export default ({ a, b }) => {
      const rows = [];
      for (let i = 0; i < Number(b.n); i++) rows.push({ i, text: 'x'.repeat(i % 50) });
      return { ...a, n: String(rows.length) };
    }`;
    const version = makeMergeVersion(source, 'javascript', { steps: 8, memory_mb: 1 });
    const sizes = fc.array(fc.nat(30_000), { minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(sizes, async (made) => {
        const inputs = made.map((n) => ({ ...INPUT, b: { ...INPUT.b, n: String(n) } }));
        const { isSame } = await runRepeatedly(version, inputs);
        assert.ok(isSame);
      }),
      { numRuns: 5 },
    );
  });
});

describe('a version of a merge function', () => {
  const codeOf = (code: string, detail: RegExp) => (error: unknown) =>
    error instanceof SynclineError && error.code === code && detail.test(error.detail);

  test('is named by its source without types, its limits, and the sandbox', () => {
    const typed = makeMergeVersion('export default ({ a }: { a: object }) => a;');
    const again = makeMergeVersion(typed.source, 'javascript');
    assert.equal(typed.hash, again.hash);
    assert.notEqual(makeMergeVersion(typed.source, 'javascript', { steps: 7 }).hash, typed.hash);
    assert.notEqual(makeMergeVersion(`${typed.source} `, 'javascript').hash, typed.hash);
  });

  test('with a syntax error is refused with its place', async () => {
    assert.throws(() => makeMergeVersion('const a = 1;\n  enum X { A }'), codeOf('SYN-A082', /^line 2, column 3: /));
    const broken = makeMergeVersion('export default () => {\n  return 1 +;\n}', 'javascript');
    await assert.rejects(sandbox.check(broken), codeOf('SYN-A082', /^line 2, column \d+: /));
  });

  test('without a function as its default export is refused, and so are imports', async () => {
    const sources = [
      'export const a = 1',
      'export default 5',
      'import x from "fs"; export default x',
      'throw 1',
      'for(;;);',
    ];
    for (const source of sources) {
      await assert.rejects(sandbox.check(makeMergeVersion(source, 'javascript')), codeOf('SYN-A083', /./), source);
    }
  });

  test('with limits beyond all measure is refused', () => {
    for (const steps of [0, 1.5, 1e9]) {
      assert.throws(() => makeMergeVersion('', 'javascript', { steps }), codeOf('SYN-A084', /^steps /));
    }
    assert.throws(() => makeMergeVersion(' '.repeat(300_000), 'javascript'), codeOf('SYN-A084', /source/));
  });
});

describe('a sandbox', () => {
  test('that is silent beyond all measure is ended as a fault, never as a fallback, and another one takes over', async () => {
    // Longer than a sandbox takes to start, also on a busy machine: the other one has to answer within it.
    await using impatient = new MergeSandbox(5_000);
    const stuck = makeMergeVersion(
      'export default ({ a }) => ({ ...a, n: String(("a".repeat(3e6)).indexOf("a".repeat(15e5) + "b")) })',
      'javascript',
    );
    impatient.add(stuck);
    await assert.rejects(impatient.run([{ hash: stuck.hash, input: INPUT }]), { code: 'SYN-A085' });
    const fine = makeMergeVersion('export default ({ a }) => a', 'javascript');
    impatient.add(fine);
    assert.deepEqual(await impatient.run([{ hash: fine.hash, input: INPUT }]), [image('2')]);
  });
});
